//go:build integration

package integration

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// transcript writes one as strace does. In its lines 'strings' and <paths> are as people read them.
func transcript(t testing.TB, lines ...string) []sysEvent {
	t.Helper()
	hexed := func(s string) string {
		var b strings.Builder
		for i := range len(s) {
			fmt.Fprintf(&b, `\x%02x`, s[i])
		}
		return b.String()
	}
	var b strings.Builder
	for i, line := range lines {
		line = regexp.MustCompile(`'[^']*'`).ReplaceAllStringFunc(line, func(s string) string { return `"` + hexed(s[1:len(s)-1]) + `"` })
		line = regexp.MustCompile(`</[^<>]*`).ReplaceAllStringFunc(line, func(s string) string { return "<" + hexed(s[1:]) })
		thread, text, _ := strings.Cut(line, " ")
		fmt.Fprintf(&b, "%s 1795379319.%06d %s\n", thread, i, text)
	}
	events, err := parseTranscript(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// TestTranscript: what the replay of system calls takes for durable.
func TestTranscript(t *testing.T) {
	const (
		create = `1 openat(AT_FDCWD</>, '/r/d/f', O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0644) = 3</r/d/f>`
		write  = `1 pwrite64(3</r/d/f>, 'abc', 3, 0) = 3`
		sync   = `1 fdatasync(3</r/d/f>) = 0`
		folder = `1 fsync(4</r/d>) = 0`
	)
	tests := []struct {
		name        string
		lines       []string
		data, names bool // the first three bytes of f, and its name, are durable
	}{
		{"nothing synced", []string{create, write}, false, false},
		{"data", []string{create, write, sync}, true, false},
		{"data and name", []string{create, write, sync, folder}, true, true},
		{"the other way round", []string{create, folder, write, sync}, true, true},
		{"a sync before the write", []string{create, folder, sync, write}, false, true},
		{"a write of two parts", []string{create, folder, `1 pwritev(3</r/d/f>, [{iov_base='ab', iov_len=2}, {iov_base='c', iov_len=1}], 2, 0) = 3`, sync}, true, true},
		{"a second write", []string{create, folder, write, sync, `1 pwrite64(3</r/d/f>, 'c', 1, 2) = 1`}, false, true},
		{"a write behind it", []string{create, folder, write, sync, `1 pwrite64(3</r/d/f>, 'd', 1, 3) = 1`}, true, true},
		{"a sync that fails", []string{create, write, folder, `1 fdatasync(3</r/d/f>) = -1 EIO (Input/output error)`}, false, true},
		{"a sync of another file", []string{create, write, folder, `1 fdatasync(3</r/d/g>) = 0`}, false, true},
		{"a sync of another folder", []string{create, write, sync, `1 fsync(4</r/d/e>) = 0`}, true, false},
		{"a bulk sync", []string{create, write, `1 syncfs(4</r>) = 0`}, true, true},
		{"a sync that begins while it is written", []string{create, folder,
			`1 pwrite64(3</r/d/f>, 'abc', 3, 0 <unfinished ...>`, `2 fdatasync(3</r/d/f> <unfinished ...>`,
			`1 <... pwrite64 resumed>) = 3`, `2 <... fdatasync resumed>) = 0`}, false, true},
		{"a sync that has not ended", []string{create, folder, write, `2 fdatasync(3</r/d/f> <unfinished ...>`}, false, true},
		{"a sync in which the process ends", []string{create, folder, write, `2 fdatasync(3</r/d/f>,  <unfinished ...>) = ?`}, false, true},
		{"a sync that the end of the process interrupts", []string{create, folder, write, `2 fdatasync(3</r/d/f> <unfinished ...>`,
			`2 <... fdatasync resumed> <unfinished ...>) = ?`, `2 +++ killed by SIGKILL +++`}, false, true},
		{"a sync that is made again", []string{create, folder, write, `2 fdatasync(3</r/d/f>) = ? ERESTARTSYS (To be restarted)`}, false, true},
		{"a folder that is synced while the file is made", []string{
			`1 openat(AT_FDCWD</r>, 'd/f', O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0644 <unfinished ...>`, `2 fsync(4</r/d> <unfinished ...>`,
			`1 <... openat resumed>) = 3</r/d/f>`, `2 <... fsync resumed>) = 0`, write, sync}, true, false},
		{"a short write", []string{create, folder, `1 pwrite64(3</r/d/f>, 'abc', 3, 0) = 2`, sync}, false, true},
		{"a file that is cut", []string{create, folder, write, sync, `1 ftruncate(3</r/d/f>, 2) = 0`}, false, true},
		{"another name", []string{`1 openat(AT_FDCWD</>, '/r/d/f.tmp', O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0644) = 3</r/d/f.tmp>`, folder,
			`1 pwrite64(3</r/d/f.tmp>, 'abc', 3, 0) = 3`, `1 fdatasync(3</r/d/f.tmp>) = 0`,
			`1 renameat(AT_FDCWD</>, '/r/d/f.tmp', AT_FDCWD</>, '/r/d/f') = 0`}, true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newTracedDisk("/r", func(kind, text string) { t.Errorf("%s: %s", kind, text) })
			d.names["/r/d"] = &tracedName{durable: true}
			for _, e := range transcript(t, test.lines...) {
				if e.end {
					d.end(e.call)
				} else {
					d.begin(e.call)
				}
			}
			if left := d.unsynced("/r/d/f", 3); (left == "") != test.data {
				t.Errorf("not durable: %q, want that to be so: %t", left, test.data)
			}
			if left := d.unnamed("/r/d/f"); (left == "") != test.names {
				t.Errorf("the name %q is not durable, want them all to be: %t", left, test.names)
			}
		})
	}
}

// TestTranscriptOfTwoThreads: a call that another one interrupts in the transcript is put together again, and calls with
// sockets and strings are taken apart.
func TestTranscriptOfTwoThreads(t *testing.T) {
	const socket = "TCP:[127.0.0.1:9092->127.0.0.1:50000]"
	events := transcript(t,
		`7 read(5<`+socket+`>,  <unfinished ...>`,
		`8 write(6<`+socket+`>, 'a, b)', 5) = 5`,
		`7 <... read resumed>'xyz', 4096) = 3`,
		`7 --- SIGURG {si_signo=SIGURG} ---`,
		`7 write(2</dev/null<char 1:3>>, 'x', 1) = 1`,
		`7 read(5<`+socket+`>, 0xc000, 4096) = -1 EAGAIN (Resource temporarily unavailable)`,
		`8 +++ exited with 0 +++`)
	var got []string
	for _, e := range events {
		got = append(got, fmt.Sprintf("%s %t %q %s %d", e.call.name, e.end, e.call.arg(1).data, e.call.arg(0).path, e.call.ret))
	}
	want := []string{
		`read false "xyz" ` + socket + ` 3`, `write false "a, b)" ` + socket + ` 5`, `write true "a, b)" ` + socket + ` 5`,
		`read true "xyz" ` + socket + ` 3`, `write false "x" /dev/null 1`, `write true "x" /dev/null 1`,
		`read false "" ` + socket + ` -1`, `read true "" ` + socket + ` -1`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
