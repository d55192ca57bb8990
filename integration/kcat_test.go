//go:build integration && unix

package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"segue/integration/proc"
)

// needKcat skips the test where there is no kcat.
func needKcat(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("kcat"); err != nil {
		t.Skip("kcat is not installed (Debian has it as kcat): ", err)
	}
}

// kcat is a run of kcat.
type kcat struct {
	cmd    *exec.Cmd
	errors bytes.Buffer // what it writes to its standard error; to be read once it has ended
}

// kcat returns a kcat that talks to the broker, not started yet.
func (b *broker) kcat(ctx context.Context, args ...string) *kcat {
	k := &kcat{cmd: exec.CommandContext(ctx, "kcat", append([]string{"-b", b.addr, "-F", "/dev/null"}, args...)...)}
	k.cmd.Stderr = &k.errors
	k.cmd.SysProcAttr = proc.Tied()
	k.cmd.WaitDelay = time.Second
	return k
}

// failure is the error of a run with what kcat says of it.
func (k *kcat) failure(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w\n%s", strings.Join(k.cmd.Args, " "), err, k.errors.String())
}

// runKcat runs kcat to its end and returns what it writes.
func (b *broker) runKcat(t testing.TB, input io.Reader, args ...string) string {
	t.Helper()
	k := b.kcat(within(t, patience), args...)
	k.cmd.Stdin = input
	out, err := k.cmd.Output()
	if err != nil {
		t.Fatal(k.failure(err))
	}
	return string(out)
}

// kcatRecord is a record as kcat shows it.
type kcatRecord struct {
	partition  int32
	offset     int64
	timestamp  int64
	headers    string // as name=value, separated by commas
	key, value []byte
}

// kcatFormat makes kcat write records so that readKcatRecord can read them, whatever is in them.
const kcatFormat = `%p %o %T %K %S %h\n%k%s`

// readKcatRecord reads a record that was written in kcatFormat. At the end the error is io.EOF.
func readKcatRecord(in *bufio.Reader) (kcatRecord, error) {
	var r kcatRecord
	line, err := in.ReadString('\n')
	if err != nil {
		if err == io.EOF && line != "" {
			err = io.ErrUnexpectedEOF
		}
		return r, err
	}
	var keySize, valueSize int
	if _, err := fmt.Sscan(line, &r.partition, &r.offset, &r.timestamp, &keySize, &valueSize); err != nil {
		return r, fmt.Errorf("kcat wrote %q: %w", line, err)
	}
	if fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 6); len(fields) == 6 {
		r.headers = fields[5]
	}
	r.key, r.value = make([]byte, max(0, keySize)), make([]byte, max(0, valueSize)) // -1 is null
	if _, err := io.ReadFull(in, r.key); err != nil {
		return r, err
	}
	_, err = io.ReadFull(in, r.value)
	return r, err
}

// consumeWithKcat returns the first n records of a topic, as they come.
func (b *broker) consumeWithKcat(t testing.TB, topic string, n int) []kcatRecord {
	t.Helper()
	out := b.runKcat(t, nil, "-C", "-q", "-t", topic, "-o", "beginning", "-c", fmt.Sprint(n), "-f", kcatFormat)
	in := bufio.NewReader(strings.NewReader(out))
	var records []kcatRecord
	for {
		r, err := readKcatRecord(in)
		if errors.Is(err, io.EOF) {
			return records
		}
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
}
