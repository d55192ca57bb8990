package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"segue/storage/record"
	"segue/storage/vfs"
)

// compactConfig is a configuration of small segments that are compacted whenever anything of them is dirty.
func compactConfig() Config {
	c := testConfig()
	c.SegmentBytes, c.Compact, c.Delete, c.TombstoneAge = 1000, true, false, time.Hour
	return c
}

// compactOptions has nothing happen that a test has not asked for.
func compactOptions() Options {
	return Options{Reserve: 4 << 10, CleanInterval: 1000 * time.Hour, Compactors: -1, CompactBackoff: time.Second}
}

// newCompactBench returns a bench whose logs are compacted when the test says so.
func newCompactBench(t testing.TB, fsys vfs.FS, change func(*bench)) *bench {
	return newBench(t, fsys, func(b *bench) {
		b.cfg, b.opts = compactConfig(), compactOptions()
		if change != nil {
			change(b)
		}
	})
}

// pairs makes a batch of "key=value" records; a key alone is a tombstone, and a record that begins with "=" has no key.
func pairs(t testing.TB, unixMilli int64, all ...string) record.Batch {
	t.Helper()
	bb := record.NewBuilder(0)
	for i, p := range all {
		key, value, full := strings.Cut(p, "=")
		k, v := []byte(key), []byte(value)
		if key == "" {
			k = nil
		}
		if !full {
			v = nil
		}
		bb.Add(unixMilli+int64(i), k, v)
	}
	batch, err := bb.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// put appends a batch of records and returns its base offset.
func (b *bench) put(all ...string) record.Offset {
	b.t.Helper()
	base, _, err := b.log.Append(context.Background(), 1, pairs(b.t, time.Now().UnixMilli(), all...))
	if err != nil {
		b.t.Fatal(err)
	}
	return base
}

// seal has the next append begin a segment.
func (b *bench) seal() {
	b.t.Helper()
	if err := b.log.rollAt(b.end()); err != nil {
		b.t.Fatal(err)
	}
	b.sync()
}

// compact compacts what is due.
func (b *bench) compact() {
	b.t.Helper()
	if err := b.dir.Compact(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

// contents reads the whole log: a line for each batch, "base-last: offset key=value …".
func (b *bench) contents() []string {
	b.t.Helper()
	start, _, end := b.log.Bounds()
	all, err := readBatches(b.log, start, end, 300)
	if err != nil {
		b.t.Fatal(err)
	}
	var lines []string
	for _, batch := range all {
		line, err := describeBatch(batch)
		if err != nil {
			b.t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

func describeBatch(b record.Batch) (string, error) {
	line := fmt.Sprintf("%d-%d:", b.BaseOffset(), b.LastOffset())
	for r, err := range b.Records(nil) {
		if err != nil {
			return "", err
		}
		line += fmt.Sprintf(" %d %s", r.Offset, r.Key)
		if r.Value != nil {
			line += "=" + string(r.Value)
		}
	}
	return line, nil
}

func (b *bench) wantContents(want ...string) {
	b.t.Helper()
	if got := b.contents(); !slices.Equal(got, want) {
		b.t.Fatalf("the log holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err := b.log.checkIndexes(); err != nil {
		b.t.Fatal(err)
	}
}

// bases returns the base offsets of the log's segments.
func (b *bench) bases() (bases []record.Offset) {
	for _, s := range b.log.view.Load().segments {
		bases = append(bases, s.base)
	}
	return bases
}

func TestCompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCompactBench(t, vfs.NewCrashable(), nil)
		b.put("a=1", "b=1", "c=1")
		b.put("a=2")
		b.put("d=1", "=nobody")
		b.seal()
		b.put("b=2", "e=1")
		b.put("b=3")
		b.seal()
		b.put("a=hot")
		b.compact()
		want := []string{
			"0-2: 2 c=1",
			"3-3: 3 a=2",
			"4-5: 4 d=1",
			"6-7: 7 e=1",
			"8-8: 8 b=3",
			"9-9: 9 a=hot",
		}
		b.wantContents(want...)
		if got := b.bases(); !slices.Equal(got, []record.Offset{0, 9}) {
			t.Fatal("segments begin at", got)
		}
		b.reopen()
		b.wantContents(want...)
		// The hot segment is never looked at; once it is sealed it is.
		b.seal()
		b.compact()
		want[1] = ""
		b.wantContents(slices.DeleteFunc(want, func(s string) bool { return s == "" })...)
		if s := b.dir.Stats(); s.Compactions != 1 || s.CompactedRecords != 1 || s.CompactFailures+s.Damage != 0 {
			t.Fatalf("%+v", s)
		}
		b.compact()
		if s := b.dir.Stats(); s.Compactions != 1 {
			t.Fatalf("compacted %d times, and nothing was written", s.Compactions)
		}
	})
}
