package partition_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"segue/partition"
	"segue/storage"
	"segue/storage/record"
	"segue/storage/vfs"
)

// compactTrial is a compacted partition under transactions, and its model.
type compactTrial struct {
	*testing.T
	rand   *rand.Rand
	disk   *vfs.Crashable
	dir    *storage.Dir
	p      *partition.Partition
	config partition.Config
	epoch  int32

	log     txnLog
	records map[record.Offset]string // "key=value", a key alone for a tombstone
	start   record.Offset
	deletes bool        // records are deleted; if not, checkpoints are lost
	looking atomic.Bool // compaction is at work, and readers look at the log while it is
}

func (t *compactTrial) open() {
	t.Helper()
	fsys := vfs.Inject(t.disk, func(op vfs.Op) error {
		if t.looking.Load() && (op.Kind == vfs.OpRename || op.Kind == vfs.OpCreate) {
			t.read()
		}
		return nil
	})
	var err error
	t.dir, err = storage.OpenDir("data", storage.Options{FS: fsys, Reserve: 4 << 10, Compactors: -1, CompactBackoff: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.epoch++
	if t.p, err = partition.Open(context.Background(), partition.Local(t.dir), theID, t.epoch, t.config, codecs()); err != nil {
		t.Fatal(err)
	}
	if end := t.p.Offsets().LogEnd; end != t.log.end() {
		t.Fatalf("the log ends at %d, want %d", end, t.log.end())
	}
	t.check()
}

// shut ends the broker in one way or another. All that was written was acknowledged.
func (t *compactTrial) shut() {
	t.Helper()
	var next *vfs.Crashable
	switch t.rand.IntN(3) {
	case 0:
		next = t.disk.Crash(t.rand)
	case 1:
		next = t.disk.Kill()
	}
	if err := errors.Join(t.p.Close(context.Background()), t.dir.Close()); err != nil {
		t.Fatal(err)
	}
	if next != nil {
		t.disk = next
	}
	if !t.deletes && t.rand.IntN(2) == 0 {
		path := filepath.Join("data", theID.Folder(), "partition.checkpoint")
		if err := t.disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// write appends a batch of a few records of a producer, of its transaction if it has one open or begins one.
func (t *compactTrial) write() {
	t.Helper()
	e := entry{sent: sent{id: t.rand.Int64N(4) - 1, base: t.log.end()}}
	if k := t.log.producer(e.id); k != nil {
		e.epoch, e.seq, e.txn = k.epoch, k.nextSeq(), k.open >= 0
	}
	e.txn = e.txn || e.id >= 0 && t.rand.IntN(6) > 0
	bb := record.NewBuilder(0)
	if bb.Transactional = e.txn; e.id >= 0 {
		bb.ProducerID, bb.ProducerEpoch, bb.BaseSequence = e.id, e.epoch, e.seq
	}
	for range 1 + t.rand.IntN(3) {
		key := fmt.Sprintf("k%d", t.rand.IntN(6))
		text, value := fmt.Sprintf("%s=%d", key, e.next()), fmt.Appendf(nil, "%d", e.next())
		if t.rand.IntN(5) == 0 {
			text, value = key, nil
		}
		t.records[e.next()] = text
		bb.Add(time.Now().UnixMilli(), []byte(key), value)
		e.count++
	}
	b, err := bb.Build()
	if err != nil {
		t.Fatal(err)
	}
	one := []partition.Addition{{Batch: b}}
	if e.txn {
		if one[0].Guard, _, err = t.p.Guard(b.Header, false); err != nil {
			t.Fatal(err)
		}
	}
	t.p.AppendAll(context.Background(), -1, one, partition.Client)
	t.took(e, one[0].Ack, one[0].Err)
}

// took waits for an acknowledgement.
func (t *compactTrial) took(e entry, ack partition.Ack, err error) {
	t.Helper()
	if err == nil {
		err = ack.Wait(context.Background())
	}
	if err != nil || ack.Base != e.base || ack.Duplicate {
		t.Fatalf("%+v was answered %+v, %v", e, ack, err)
	}
	t.log = append(t.log, e)
}

// end ends a transaction, or none.
func (t *compactTrial) end() {
	t.Helper()
	m := partition.Marker{ProducerID: t.rand.Int64N(3), Commit: t.rand.IntN(2) == 0, Version: int16(1 + t.rand.IntN(2))}
	if k := t.log.producer(m.ProducerID); k != nil {
		m.ProducerEpoch = k.epoch
	}
	if m.Version == 2 {
		m.ProducerEpoch++
	}
	ack, err := t.p.AppendMarker(context.Background(), -1, m)
	t.took(entry{sent: sent{id: m.ProducerID, epoch: m.ProducerEpoch, seq: -1, count: 1, base: t.log.end()}, marker: &m}, ack, err)
}

// check holds what the partition says against the model.
func (t *compactTrial) check() {
	t.Helper()
	if got, want := t.p.Offsets().LastStable, t.log.stable(t.start, t.log.end()); got != want {
		t.Fatalf("stable is %d, want %d; the log is %+v", got, want, t.log)
	}
	states := t.p.Producers()
	for id := range int64(3) {
		k, i := t.log.producer(id), slices.IndexFunc(states, func(s partition.ProducerState) bool { return s.ProducerID == id })
		if (k == nil) != (i < 0) {
			t.Fatalf("producer %d is %+v, the log is %+v", id, states, t.log)
		}
		if k == nil {
			continue
		}
		if s := states[i]; s.Epoch != k.epoch || s.LastSequence != k.nextSeq()-1 && k.nextSeq() > 0 || s.TxnStart != k.open {
			t.Fatalf("producer %d is %+v, want %+v", s.ProducerID, s, *k)
		}
	}
	t.read()
}

// read reads what is committed from somewhere on: nothing but that is seen, the last value of each key among it, and a reader
// comes to where there is nothing more.
func (t *compactTrial) read() {
	t.Helper()
	from, stable := t.start, t.log.stable(t.start, t.log.end())
	if t.rand.IntN(2) == 0 {
		from += record.Offset(t.rand.Int64N(int64(stable-from) + 1))
	}
	want := map[string]record.Offset{}
	legal := t.log.visible(from, stable)
	for _, o := range legal {
		key, _, _ := strings.Cut(t.records[o], "=")
		want[key] = o
	}
	got := map[string]record.Offset{}
	next := committed(t.T, t.p, from, 1+t.rand.IntN(1000), func(r record.Record) {
		text := string(r.Key)
		if r.Value != nil {
			text += "=" + string(r.Value)
		}
		if _, ok := slices.BinarySearch(legal, r.Offset); !ok || t.records[r.Offset] != text {
			t.Fatalf("from %d a reader sees %s at %d; the log is %+v", from, text, r.Offset, t.log)
		}
		got[string(r.Key)] = r.Offset
	})
	for key, o := range want {
		if _, _, value := strings.Cut(t.records[o], "="); value && got[key] != o {
			t.Fatalf("from %d the last of %s that a reader sees is %d, want %d; the log is %+v", from, key, got[key], o, t.log)
		}
		if last, ok := got[key]; ok && last != o {
			t.Fatalf("from %d a reader sees %s of %d, and it is deleted at %d; the log is %+v", from, key, last, o, t.log)
		}
	}
	if next != stable {
		t.Fatalf("from %d a reader came to %d, want %d", from, next, stable)
	}
}

func (t *compactTrial) step() {
	t.Helper()
	ctx := context.Background()
	switch n := t.rand.IntN(100); {
	case n < 50:
		t.write()
	case n < 68:
		t.end()
	case n < 82:
		t.looking.Store(true)
		err := t.dir.Compact(ctx)
		t.looking.Store(false)
		if s := t.dir.Stats(); err != nil || s.CompactFailures+s.CompactDamaged+s.CompactUnread != 0 {
			t.Fatal(err, s)
		}
		t.check()
	case n < 90:
		time.Sleep(time.Duration(t.rand.IntN(15)) * time.Minute)
	case n < 92:
		if err := t.p.Checkpoint(ctx); err != nil {
			t.Fatal(err)
		}
	case n < 94 && t.deletes:
		start := record.Offset(t.rand.Int64N(int64(t.log.end()) + 1))
		if _, err := t.p.DeleteBefore(ctx, start); err != nil {
			t.Fatal(err)
		}
		t.start = max(t.start, start)
		t.check()
	case n >= 97:
		t.shut()
		t.open()
	}
}

// TestTransactionsAndCompaction: whatever compaction takes, and whenever the broker ends, what was aborted is never seen, the
// last committed values are, and what the log says of open transactions and of producers stays what it was.
func TestTransactionsAndCompaction(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	for range rounds {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &compactTrial{T: t, rand: rand.New(rand.NewPCG(seed, 0)), disk: vfs.NewCrashable(), config: testConfig(), records: map[record.Offset]string{}}
				tr.deletes = tr.rand.IntN(2) == 0
				log := &tr.config.Log
				log.Compact, log.Delete, log.SegmentBytes = true, tr.deletes, 200+tr.rand.Int64N(1500)
				log.RetentionBytes, log.RetentionAge = -1, -1
				log.TombstoneAge = []time.Duration{0, 10 * time.Minute}[tr.rand.IntN(2)]
				tr.open()
				for range 250 {
					tr.step()
				}
				if err := errors.Join(tr.p.Close(context.Background()), tr.dir.Close()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
