//go:build integration && unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// TestTornTail: what a kill has left of a batch that was being written is put aside and told of; nothing else is touched.
func TestTornTail(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	w := b.dial(t)
	fill(t, w, "t", 10, time.Now())
	b.kill()
	hot := b.segments(t, "t", 0)[0]
	whole, err := os.ReadFile(hot)
	if err != nil {
		t.Fatal(err)
	}
	torn := batchOf(t, strings.Repeat("torn", 1000))
	torn.SetBaseOffset(10)
	if err := os.WriteFile(hot, append(whole, torn.Bytes()[:2000]...), 0o644); err != nil {
		t.Fatal(err)
	}
	b.launch()
	told := b.run.log.find(func(e entry) bool { return e.text("level") == "warn" && strings.Contains(e.raw, "t-0") })
	if len(told) == 0 {
		t.Errorf("the log does not tell what was cut:\n%s", b.run.log)
	}
	cut, err := filepath.Glob(filepath.Join(b.folder("t", 0), "*.cut*"))
	if err != nil || len(cut) != 1 {
		t.Errorf("what was cut is kept in %v, %v; want one file", cut, err)
	} else if data, err := os.ReadFile(cut[0]); err != nil || !strings.Contains(string(data), "torntorn") {
		t.Errorf("%s: %d bytes, %v", cut[0], len(data), err)
	}
	if base := b.dial(t).produce("t", 0, batchOf(t, "next")); base != 10 {
		t.Errorf("the next batch is at %d, want 10", base)
	}
	for i, r := range b.consumePartition(t, "t", 0) {
		if r.Offset != int64(i) || i < 10 && string(r.Value[:1]) != fmt.Sprint(i) {
			t.Errorf("record %d: %.10q at %d", i, r.Value, r.Offset)
		}
	}
}

// TestDamage flips a bit of a batch in the middle, as a bad disk does: in the header of one that lies in a sealed segment
// while the broker is stopped, and in the records of one in the hot segment after a kill, which a start checks. Readers of
// that batch are told; the batches around it are read, and nothing is thrown away, whatever kind of start follows. (The
// records of sealed segments are for clients to check, as they go from the disk to the socket.)
func TestDamage(t *testing.T) {
	const batches, middle = 250, 125 // in three segments
	tests := []struct {
		name    string
		damaged int // batch
		at      int // byte of it
		end     func(b *broker)
	}{
		{"header of a sealed one", middle, 16, func(b *broker) { b.stop() }},
		{"records of the hot one", batches - 10, 1000, func(b *broker) { b.kill() }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := start(t)
			b.tolerated = func(e entry) bool { return strings.Contains(e.raw, "corrupt") || strings.Contains(e.raw, "damage") }
			b.createTopic(t, "t", 1, "segment.bytes", "1048576")
			fill(t, b.dial(t), "t", batches, time.Now())
			test.end(b)
			file, size := b.flip(t, "t", test.damaged, test.at)
			b.launch()
			b.checkDamaged(t, int64(test.damaged), batches)
			if base := b.dial(t).produce("t", 0, batchOf(t, "more")); base != batches {
				t.Errorf("the next batch is at %d, want %d", base, batches)
			}
			b.crash()
			b.checkDamaged(t, int64(test.damaged), batches)
			b.restart()
			b.checkDamaged(t, int64(test.damaged), batches)
			if info, err := os.Stat(file); err != nil || info.Size() < size {
				t.Errorf("%s: %v, %v; it had %d bytes", file, info, err, size)
			}
		})
	}
}

// flip flips a bit of a batch of partition 0, which is that of its number, and returns the file and its size.
func (b *broker) flip(t *testing.T, topic string, number, at int) (file string, size int64) {
	t.Helper()
	for _, file := range b.segments(t, topic, 0) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for rest := data; len(rest) > 0; {
			batch, behind, err := record.Parse(rest)
			if err != nil {
				t.Fatal(err)
			}
			if int(batch.BaseOffset()) == number {
				batch.Bytes()[at] ^= 0x10
				if err := os.WriteFile(file, data, 0o644); err != nil {
					t.Fatal(err)
				}
				return file, int64(len(data))
			}
			rest = behind
		}
	}
	t.Fatal("no such batch")
	return "", 0
}

// checkDamaged reads one batch at a time around the one that is damaged.
func (b *broker) checkDamaged(t *testing.T, damaged, batches int64) {
	t.Helper()
	w := b.dial(t)
	defer w.conn.Close()
	for _, offset := range []int64{0, damaged - 1, damaged, damaged + 1, batches - 1} {
		req := fetchRequest(12, 0, 1, wanted{topic: "t", offset: offset})
		req.Topics[0].Partitions[0].PartitionMaxBytes = 1
		p := ask[*kmsg.FetchResponse](w, req).Topics[0].Partitions[0]
		if offset == damaged {
			expectCode(t, fmt.Sprintf("start %d: fetch at %d, which is damaged", b.starts, offset), p.ErrorCode, kerr.CorruptMessage)
			continue
		}
		if v := valuesOf(t, &p); len(v) != 1 || v[0][:1] != fmt.Sprint(offset%10) {
			t.Errorf("start %d: fetch at %d: %d records", b.starts, offset, len(v))
		}
	}
	if first, end := b.offsets(t, "t", 0); first != 0 || end < batches {
		t.Errorf("start %d: offsets %d to %d, want 0 to %d or more", b.starts, first, end, batches)
	}
}

// TestDamagedCatalog: a broker does not start on a catalog that is damaged, or gone. It says which file it is and what to
// do, ends with 1, and once the catalog is back everything else is there as it was.
func TestDamagedCatalog(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	fill(t, b.dial(t), "t", 10, time.Now())
	b.stop()
	folder, kept := filepath.Join(b.dir, "@catalog-0"), filepath.Join(t.TempDir(), "kept")
	if err := os.CopyFS(kept, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "00000000000000000000.log")
	for _, test := range []struct {
		name  string
		spoil func() error
		want  []string
	}{
		{"a flipped bit", func() error { return flipByte(file, 90) }, []string{file, "broker log verify", "copy"}},
		{"gone", func() error { return os.RemoveAll(folder) }, []string{folder, "no catalog", "t-0", "copy"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.spoil(); err != nil {
				t.Fatal(err)
			}
			p := execute(t, b.args()...)
			if code := p.exitCode(t); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			for _, want := range test.want {
				if said := p.log.String(); !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
			v := execute(t, "log", "verify", b.dir)
			if code := v.exitCode(t); code != 1 || !strings.Contains(v.output.String(), "does not start") {
				t.Errorf("verify ends with %d and prints\n%s", code, v.output)
			}
			if err := os.RemoveAll(folder); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(folder, os.DirFS(kept)); err != nil {
				t.Fatal(err)
			}
			b.launch()
			if n := len(b.consumePartition(t, "t", 0)); n != 10 {
				t.Errorf("%d records, want 10", n)
			}
			b.stop()
		})
	}
}

// TestLogCommands: what verify and dump say of the same data while the broker runs, after a kill, after a stop, and when a
// bit has flipped, which a real client is told of too.
func TestLogCommands(t *testing.T) {
	b := start(t)
	b.tolerated = func(e entry) bool { return strings.Contains(e.raw, "corrupt") || strings.Contains(e.raw, "damage") }
	b.createTopic(t, "t", 1, "segment.bytes", "1048576")
	fill(t, b.dial(t), "t", 250, time.Now())
	run := func(want int, args ...string) string {
		t.Helper()
		p := execute(t, append([]string{"log"}, args...)...)
		if code := p.exitCode(t); code != want {
			t.Errorf("%q ends with %d, want %d:\n%s%s", args, code, want, p.output, p.log)
		}
		return p.output.String() + p.log.String()
	}
	if said := run(2, "verify", b.dir); !strings.Contains(said, fmt.Sprint(b.run.cmd.Process.Pid)) || !strings.Contains(said, b.dir) {
		t.Errorf("it does not say who has the directory: %s", said)
	}
	b.kill()
	if said := run(0, "verify", b.dir); !strings.Contains(said, "251 batches") && !strings.Contains(said, "252 batches") || !strings.Contains(said, ": sound") {
		t.Errorf("after a kill: %s", said)
	}
	b.launch()
	b.stop()
	run(0, "verify", "--deep", "--override", "log.dirs="+b.dir)
	if said := run(0, "dump", "--records", "--from", "7", "--to", "8", b.folder("t", 0)); !strings.Contains(said, "offset 7, 1 record") {
		t.Errorf("dump: %.1000s", said)
	}
	file, _ := b.flip(t, "t", 125, 16)
	if said := run(1, "verify", b.dir); !strings.Contains(said, file) || !strings.Contains(said, "offset 125") {
		t.Errorf("after a flipped bit: %s", said)
	}
	if said := run(1, "dump", "--json", b.folder("t", 0)); !strings.Contains(said, `"fromOffset":125,"toOffset":126`) {
		t.Errorf("dump: %.1000s", said)
	}
	b.launch()
	b.checkDamaged(t, 125, 250)
	cl := b.client(t, kgo.KeepRetryableFetchErrors(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(125)}}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); errors.Is(err, kerr.CorruptMessage) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if n := fetches.NumRecords(); n > 0 {
			t.Fatalf("a client is given %d records of a damaged batch", n)
		}
	}
}

func flipByte(file string, at int) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	data[at] ^= 1
	return os.WriteFile(file, data, 0o644)
}

// TestLostIndex: an index is a hint. One that is missing or wrong is made again.
func TestLostIndex(t *testing.T) {
	spoilers := map[string]func(name string) error{
		"removed": os.Remove,
		"emptied": func(name string) error { return os.Truncate(name, 0) },
		"garbage": func(name string) error { return os.WriteFile(name, []byte(strings.Repeat("garbage", 100)), 0o644) },
		"zeros": func(name string) error {
			info, err := os.Stat(name)
			if err != nil {
				return err
			}
			return os.WriteFile(name, make([]byte, info.Size()), 0o644)
		},
	}
	b := start(t)
	for how := range spoilers {
		b.createTopic(t, how, 1, "segment.bytes", "1048576")
		fill(t, b.dial(t), how, 250, time.Now())
	}
	spoil := func() {
		t.Helper()
		for how, spoiler := range spoilers {
			names, err := filepath.Glob(filepath.Join(b.folder(how, 0), "*.idx"))
			if err != nil || len(names) != 3 {
				t.Fatalf("%s: indexes %v, %v", how, names, err)
			}
			for _, name := range names {
				if err := spoiler(name); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
		}
	}
	check := func() {
		t.Helper()
		w := b.dial(t)
		for how := range spoilers {
			for _, offset := range []int64{249, 0, 130, 77} {
				req := fetchRequest(12, 0, 1, wanted{topic: how, offset: offset})
				req.Topics[0].Partitions[0].PartitionMaxBytes = 1
				v := valuesOf(t, fetched(ask[*kmsg.FetchResponse](w, req), wanted{topic: how}))
				if len(v) != 1 || v[0][:1] != fmt.Sprint(offset%10) {
					t.Errorf("%s: at %d there are %d records", how, offset, len(v))
				}
			}
			if n := len(b.consumePartition(t, how, 0)); n != 250 {
				t.Errorf("%s: %d records, want 250", how, n)
			}
		}
		w.conn.Close()
	}
	b.stop()
	spoil()
	b.launch()
	check()
	b.kill()
	spoil()
	b.launch()
	check()
}
