package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"segue/storage/record"
	"segue/storage/vfs"
)

// TestTombstones: a tombstone is given its time when it is first met, and goes when that is over, with nothing written.
func TestTombstones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCompactBench(t, vfs.NewCrashable(), nil)
		b.put("a=1", "b=1")
		b.put("a", "c")
		b.put("x=1")
		b.seal()
		b.put("hot=1")
		b.compact()
		b.wantContents("0-1: 1 b=1", "2-3: 2 a 3 c", "4-4: 4 x=1", "5-5: 5 hot=1")
		time.Sleep(time.Hour - time.Minute)
		b.compact()
		b.wantContents("0-1: 1 b=1", "2-3: 2 a 3 c", "4-4: 4 x=1", "5-5: 5 hot=1")
		b.reopen() // when they may go is remembered
		time.Sleep(2 * time.Minute)
		b.compact()
		b.wantContents("0-1: 1 b=1", "4-4: 4 x=1", "5-5: 5 hot=1")
		// The last batch of a segment stays, without its records, so that its end is known.
		b.put("b")
		b.seal()
		b.put("hot=2")
		b.compact()
		time.Sleep(2 * time.Hour)
		b.compact()
		b.wantContents("0-1:", "4-4: 4 x=1", "5-5: 5 hot=1", "6-6:", "7-7: 7 hot=2")
		// Without what is remembered all is dirty.
		b.close()
		if err := b.fs.Remove(filepath.Join(b.path, testID.Folder(), cleanedCheckpoint+checkpointSuffix)); err != nil {
			t.Fatal(err)
		}
		b.open()
		b.compact()
		b.wantContents("0-1:", "4-4: 4 x=1", "5-5: 5 hot=1", "6-6:", "7-7: 7 hot=2")
	})
}

// TestCompactionLooksAt tests which logs are due.
func TestCompactionLooksAt(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(c *Config)
		wait   time.Duration // after a third of the log was written again
		rounds int64
	}{
		{"nothing but the policy", func(*Config) {}, 0, 2},
		{"a ratio that is reached", func(c *Config) { c.MinDirtyRatio = 0.2 }, 0, 2},
		{"a ratio that is not", func(c *Config) { c.MinDirtyRatio = 0.7 }, 0, 1},
		{"a ratio that is not, and a lag that is over", func(c *Config) { c.MinDirtyRatio, c.MaxCompactionLag = 0.7, time.Minute }, time.Hour, 2},
		{"a ratio that is not, and a lag that is not over", func(c *Config) { c.MinDirtyRatio, c.MaxCompactionLag = 0.7, time.Minute }, time.Second, 1},
		{"records too young", func(c *Config) { c.MinCompactionLag = time.Minute }, time.Second, 1},
		{"records old enough", func(c *Config) { c.MinCompactionLag = time.Minute }, time.Hour, 2},
		{"no policy", func(c *Config) { c.Compact = false }, time.Hour, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCompactBench(t, vfs.NewCrashable(), func(b *bench) { test.change(&b.cfg) })
				for range 4 {
					b.put("a=1", "b=1", "c=1")
				}
				b.seal()
				time.Sleep(2 * time.Hour) // old enough, whatever the lag
				b.compact()
				b.put("a=2", "b=2", "c=2")
				b.seal()
				b.put("hot=1")
				time.Sleep(test.wait)
				b.compact()
				if n := b.dir.Stats().Compactions; n != test.rounds {
					t.Fatalf("compacted %d times, want %d", n, test.rounds)
				}
			})
		})
	}
}

// TestFewKeysAtATime compacts a log with more keys than fit at a time.
func TestFewKeysAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCompactBench(t, vfs.NewCrashable(), func(b *bench) { b.opts.CompactMemory = 1 })
		for range 3 {
			b.put("a=1", "b=1", "c=1", "d=1", "e=1")
			b.put("a=2", "c=2", "e=2", "f=2")
		}
		b.seal()
		b.put("hot=1")
		b.compact()
		b.wantContents("0-4:", "18-22: 19 b=1 21 d=1", "23-26: 23 a=2 24 c=2 25 e=2 26 f=2", "27-27: 27 hot=1")
		if s := b.dir.Stats(); s.Compactions < 2 {
			t.Fatalf("%+v", s)
		}
	})
}

// keeperOf answers with functions.
type keeperOf struct {
	limit record.Offset
	keep  func(record.Batch) Verdict
}

func (k keeperOf) CleanLimit() record.Offset   { return k.limit }
func (k keeperOf) Keep(b record.Batch) Verdict { return k.keep(b) }

func (keeperOf) Forget(context.Context, []record.Offset) error { return nil }

func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		verdicts := map[record.Offset]Verdict{2: KeepBatch, 4: KeepAll, 6: DropAll, 8: KeepLatest}
		b := newCompactBench(t, vfs.NewCrashable(), func(b *bench) {
			b.keeper = keeperOf{12, func(b record.Batch) Verdict { return verdicts[b.BaseOffset()] }}
		})
		for range 5 { // 0 to 9
			b.put("a=1", "b=1")
		}
		b.put("c=1", "d=1")
		b.seal()
		b.put("a=2") // 12, undecided
		b.seal()
		b.put("hot=1")
		b.compact()
		// What is dropped as a whole supersedes nothing.
		b.wantContents("0-1:", "2-3:", "4-5: 4 a=1 5 b=1", "8-9: 8 a=1 9 b=1", "10-11: 10 c=1 11 d=1", "12-12: 12 a=2", "13-13: 13 hot=1")
	})
}

// during has something happen when compaction begins to write.
func during(disk vfs.FS, what func()) vfs.FS {
	done := false
	return vfs.Inject(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpCreate && strings.HasSuffix(op.Name, swapTempSuffix) && !done {
			done = true
			what()
		}
		return nil
	})
}

// TestDeletedMeanwhile: what takes the place of segments that have gone in between is thrown away.
func TestDeletedMeanwhile(t *testing.T) {
	for name, remove := range map[string]func(b *bench) error{
		"records": func(b *bench) error { return b.log.DeleteBefore(context.Background(), 5) },
		"all records": func(b *bench) error {
			return errors.Join(b.log.sync(context.Background()), b.log.DeleteBefore(context.Background(), b.end()))
		},
		"by retention": func(b *bench) error {
			c := b.cfg
			c.Delete, c.RetentionBytes = true, 1
			b.log.Configure(c)
			return b.dir.Clean(context.Background())
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b *bench
				disk := vfs.NewCrashable()
				b = newCompactBench(t, during(disk, func() {
					if err := remove(b); err != nil {
						t.Error(err)
					}
				}), nil)
				for range 3 { // 0-3, 4-7, 8-11
					b.put("a=1", "b=1")
					b.put("a=2", "c=1")
					b.seal()
				}
				b.put("hot=1")
				b.compact()
				start, _, end := b.log.Bounds()
				b.reopen()
				if again, _, last := b.log.Bounds(); again != start || last != end {
					t.Fatalf("the log holds %d to %d, and held %d to %d", again, last, start, end)
				}
				for _, line := range b.contents() {
					if strings.Contains(line, "hot=1") && end != 13 {
						t.Fatal(line)
					}
				}
				if s := b.dir.Stats(); s.Damage+s.CompactFailures != 0 {
					t.Fatalf("%+v", s)
				}
				b.wantTidy()
				time.Sleep(time.Minute)
				b.compact()
				b.wantTidy()
			})
		})
	}
}

// wantTidy looks for files that compaction has left.
func (b *bench) wantTidy() {
	b.t.Helper()
	entries, err := b.fs.ReadDir(filepath.Join(b.path, testID.Folder()))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name, tempSuffix) || strings.HasSuffix(e.Name, swapSuffix) || strings.Contains(e.Name, cutSuffix) {
			b.t.Fatal(e.Name, "is left")
		}
	}
}

// TestPolicyChangedLater: what compaction has left is sound whatever the policy says now, without any file beside the data.
func TestPolicyChangedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCompactBench(t, vfs.NewCrashable(), nil)
		for range 3 {
			b.put("a=1", "b=1")
			b.put("c=1", "b=2")
			b.put("a=2")
			b.seal()
		}
		b.put("hot=1")
		b.compact()
		want := b.contents()
		b.close()
		b.cfg.Compact = false
		folder := filepath.Join(b.path, testID.Folder())
		entries, err := b.fs.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if ext := filepath.Ext(e.Name); ext == checkpointSuffix || ext == indexSuffix {
				if err := b.fs.Remove(filepath.Join(folder, e.Name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 2 {
			b.open()
			b.wantContents(want...)
			if s := b.dir.Stats(); s.Damage+s.Cuts != 0 {
				t.Fatalf("%+v", s)
			}
			b.close()
		}
		in, err := Inspect(b.path, Options{FS: b.fs})
		if err != nil {
			t.Fatal(err)
		}
		_, err = in.VerifyLog(context.Background(), testID, VerifyOptions{Records: true, Report: func(f Finding) {
			if !f.Note {
				t.Errorf("%+v", f)
			}
		}})
		if err = errors.Join(err, in.Close()); err != nil {
			t.Fatal(err)
		}
		b.open()
	})
}

// TestReaderInTheMiddle: what was read stays readable, and who reads on is led over what is gone.
func TestReaderInTheMiddle(t *testing.T) {
	b := newCompactBench(t, nil, nil)
	for range 3 {
		b.put("a=1", "b=1")
		b.put("a=2", "c=1")
		b.seal()
	}
	b.put("hot=1")
	_, committed, _ := b.log.Bounds()
	chunk, err := b.log.Read(context.Background(), 2, committed, 10, true)
	if err != nil {
		t.Fatal(err)
	}
	before, err := chunk.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	b.compact()
	b.wantContents("0-1:", "8-9: 9 b=1", "10-11: 10 a=2 11 c=1", "12-12: 12 hot=1")
	if after, err := chunk.AppendTo(nil); err != nil || string(after) != string(before) {
		t.Fatal("what was read has changed", err)
	}
	chunk.Release()
	next, err := b.log.Read(context.Background(), 4, committed, 10, true)
	if err != nil {
		t.Fatal(err)
	}
	if all := batches(t, next); len(all) != 1 || all[0].BaseOffset() != 8 {
		t.Fatal("at 4 there is not the batch of 8")
	}
}

// TestCompactedUpToWhatWasLost: that a log is compacted up to an offset does not say that anything behind it was synced.
func TestCompactedUpToWhatWasLost(t *testing.T) {
	b := newCompactBench(t, nil, nil)
	b.put("a=1")
	b.put("a=2")
	b.seal()
	b.compact()
	b.put("b=1")
	b.put("b=2")
	b.seal()
	b.close()
	folder := filepath.Join(b.path, testID.Folder())
	for _, base := range []record.Offset{2, 4} { // as a power cut leaves them that comes before their sync
		path := filepath.Join(folder, segmentName(base))
		if err := errors.Join(os.Truncate(path+dataSuffix, 0), os.Remove(path+indexSuffix)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(folder, cleanCheckpoint+checkpointSuffix)); err != nil {
		t.Fatal(err)
	}
	b.open()
	for range 2 {
		b.wantBounds(0, 2, 2)
		b.wantContents("0-0:", "1-1: 1 a=2")
		if s := b.dir.Stats(); s.Damage != 0 {
			t.Fatalf("%+v", s)
		}
		b.reopen()
	}
}
