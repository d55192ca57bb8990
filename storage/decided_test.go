package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"segue/storage/record"
	"segue/storage/vfs"
)

// txnKeeper is what knows which data is aborted, and what it is told of markers.
type txnKeeper struct {
	aborted   func(record.Batch) bool
	last      map[record.Offset]bool // what is the last of its producer
	forgotten []record.Offset
	refuses   error
}

func (k *txnKeeper) CleanLimit() record.Offset { return 1 << 62 }

func (k *txnKeeper) Keep(b record.Batch) Verdict {
	aborted, last := !b.IsControl() && k.aborted != nil && k.aborted(b), k.last[b.LastOffset()]
	switch {
	case aborted && last:
		return DropRecords
	case aborted:
		return DropAll
	case last:
		return KeepBatch
	}
	return KeepLatest
}

func (k *txnKeeper) Forget(_ context.Context, markers []record.Offset) error {
	if k.refuses == nil {
		k.forgotten = append(k.forgotten, markers...)
	}
	return k.refuses
}

// txnBench is a bench of transactions.
func txnBench(t *testing.T, k *txnKeeper) *bench {
	return newCompactBench(t, vfs.NewCrashable(), func(b *bench) { b.keeper = k })
}

// putTxn appends a batch of a transaction, or its marker if there are no records.
func (b *bench) putTxn(producer int64, all ...string) {
	b.t.Helper()
	bb := record.NewBuilder(0)
	bb.ProducerID, bb.ProducerEpoch, bb.Transactional = producer, 0, true
	now := time.Now().UnixMilli()
	if bb.Control = len(all) == 0; bb.Control {
		bb.Add(now, []byte{0, 0, 0, 1}, make([]byte, 6))
	}
	for _, p := range all {
		key, value, _ := strings.Cut(p, "=")
		bb.Add(now, []byte(key), []byte(value))
	}
	batch, err := bb.Build()
	if err != nil {
		b.t.Fatal(err)
	}
	if _, _, err := b.log.Append(context.Background(), 1, batch); err != nil {
		b.t.Fatal(err)
	}
}

// shape tells of each batch in the log: where it begins, what of a transaction it is, and how many records it has.
func (b *bench) shape() string {
	b.t.Helper()
	start, _, end := b.log.Bounds()
	all, err := readBatches(b.log, start, end, 300)
	if err != nil {
		b.t.Fatal(err)
	}
	var words []string
	for _, batch := range all {
		kind := "plain"
		switch {
		case batch.IsControl():
			kind = fmt.Sprintf("end%d", batch.ProducerID())
		case batch.IsTransactional():
			kind = fmt.Sprintf("txn%d", batch.ProducerID())
		}
		if batch.Count() == 0 {
			kind = "empty-" + kind
		}
		if batch.HasDeleteHorizon() {
			kind += "!"
		}
		words = append(words, fmt.Sprintf("%d:%s", batch.BaseOffset(), kind))
	}
	return strings.Join(words, " ")
}

func (b *bench) wantShape(want string) {
	b.t.Helper()
	if got := b.shape(); got != want {
		b.t.Fatalf("the log holds\n%s\nwant\n%s", got, want)
	}
}

// TestMarkersOutliveData: a marker stays until all data of its transaction is gone, gets its time then, and goes when that is
// over; and the keeper hears of it before.
func TestMarkersOutliveData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &txnKeeper{}
		b := txnBench(t, k)
		b.put("first=1")
		b.putTxn(1, "a=1")     // 1
		b.putTxn(2, "b=1")     // 2
		b.putTxn(1, "c=1")     // 3
		b.putTxn(1)            // 4
		b.putTxn(2)            // 5
		b.putTxn(3)            // 6, of a transaction that wrote nothing here
		b.put("a=2", "last=1") // 7
		b.seal()
		b.put("hot=1")
		b.compact()
		b.wantShape("0:plain 2:txn2 3:txn1 4:end1 5:end2 6:end3! 7:plain 9:plain")
		b.seal()
		b.put("c=2", "d=1") // 10
		b.seal()
		b.put("hot=2")
		b.compact()
		b.wantShape("0:plain 2:txn2 4:end1! 5:end2 6:end3! 7:plain 9:plain 10:plain 12:plain")
		time.Sleep(time.Hour - time.Minute)
		b.compact()
		b.wantShape("0:plain 2:txn2 4:end1! 5:end2 6:end3! 7:plain 9:plain 10:plain 12:plain")
		if k.forgotten != nil {
			t.Fatal("the markers at", k.forgotten, "are forgotten before their time")
		}
		b.reopen()
		time.Sleep(2 * time.Minute)
		k.refuses = errors.New("the disk is full")
		b.compact()
		b.wantShape("0:plain 2:txn2 4:end1! 5:end2 6:end3! 7:plain 9:plain 10:plain 12:plain")
		if n := b.dir.Stats().CompactFailures; n != 1 {
			t.Fatal(n, "failures")
		}
		k.refuses = nil
		time.Sleep(time.Minute)
		b.compact()
		b.wantShape("0:plain 2:txn2 5:end2 7:plain 9:plain 10:plain 12:plain")
		if !slices.Equal(k.forgotten, []record.Offset{4, 6}) {
			t.Fatal("the keeper has heard of", k.forgotten)
		}
		b.wantTidy()
	})
}

// TestMarkerInAnotherSegment: a marker stays also where the data is in segments that do not become one with its own.
func TestMarkerInAnotherSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := txnBench(t, &txnKeeper{})
		long := "=" + strings.Repeat("x", 600)
		b.put("first=1")
		b.putTxn(1, "a=1") // 1
		b.put("b" + long)  // 2
		b.seal()
		b.put("c=1")      // 3
		b.putTxn(1)       // 4
		b.put("d" + long) // 5
		b.seal()
		b.put("hot=1") // 6
		b.compact()
		b.wantShape("0:plain 1:txn1 2:plain 3:plain 4:end1 5:plain 6:plain")
		if got := b.bases(); !slices.Equal(got, []record.Offset{0, 3, 6}) {
			t.Fatal("segments begin at", got)
		}
		b.put("a=2")
		b.seal()
		b.compact()
		b.wantShape("0:plain 2:plain 3:plain 4:end1! 5:plain 6:plain 7:plain")
	})
}

// TestAbortedGoes: what was aborted goes, but for the headers that hold a place, and hides no older value.
func TestAbortedGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &txnKeeper{
			aborted: func(b record.Batch) bool { return b.IsTransactional() },
			last:    map[record.Offset]bool{4: true, 7: true},
		}
		b := txnBench(t, k)
		b.put("a=1", "b=1")
		b.putTxn(1, "a=x")  // 2
		b.putTxn(1)         // 3
		b.putTxn(1, "b=x")  // 4, the last of its producer
		b.putTxn(1)         // 5
		b.putTxn(2, "b=x")  // 6
		b.putTxn(2)         // 7, the last of its producer, of another epoch
		b.putTxn(3, "a=x")  // 8
		b.put("last=1")     // 9
		b.putTxn(3, "zz=x") // 10, at the edge
		b.seal()
		b.putTxn(3) // 11, in a segment of its own
		b.seal()
		b.put("hot=1")
		b.compact()
		want := []string{"0-1: 0 a=1 1 b=1", "3-3:", "4-4:", "5-5:", "7-7:", "9-9: 9 last=1", "11-11:", "12-12: 12 hot=1"}
		var got []string
		for _, line := range b.contents() {
			if i := strings.Index(line, "\x00"); i >= 0 {
				line = line[:strings.Index(line, ":")+1] // a marker
			}
			got = append(got, line)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("the log holds\n%s", strings.Join(got, "\n"))
		}
		b.wantShape("0:plain 3:end1! 4:empty-txn1 5:end1 7:end2! 9:plain 11:end3! 12:plain")
		time.Sleep(2 * time.Hour)
		b.compact()
		b.wantShape("0:plain 4:empty-txn1 5:end1 7:empty-end2 9:plain 11:empty-end3 12:plain") // which is at the edge
		if !slices.Equal(k.forgotten, []record.Offset{3, 7, 11}) {
			t.Fatal("the keeper has heard of", k.forgotten)
		}
		k.last = nil // another has followed
		b.seal()
		b.compact()
		time.Sleep(2 * time.Hour)
		b.compact()
		b.wantShape("0:plain 9:plain 12:plain")
		if !slices.Equal(k.forgotten, []record.Offset{3, 7, 11, 5}) {
			t.Fatal("the keeper has heard of", k.forgotten)
		}
	})
}

// TestMarkersBehindDamage: behind a segment that cannot be read nobody knows which data is left, so markers stay.
func TestMarkersBehindDamage(t *testing.T) {
	k := &txnKeeper{}
	b := newCompactBench(t, nil, func(b *bench) { b.keeper, b.cfg.TombstoneAge = k, 0 })
	b.put("first=1")
	b.putTxn(1, "a=1") // 1
	b.put("last=1")    // 2
	b.seal()
	b.putTxn(2) // 3
	b.putTxn(1) // 4
	b.putTxn(2) // 5
	b.seal()
	b.put("hot=1")
	b.close()
	path := filepath.Join(b.path, testID.Folder(), segmentName(0)+dataSuffix)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(data []byte) []byte { data[len(data)/2] ^= 1; return data })
	b.open()
	for range 3 {
		b.put("hot=1")
		b.seal()
		b.compact()
	}
	if s := b.dir.Stats(); len(k.forgotten) != 0 || s.Compactions != 3 {
		t.Fatal("the markers at", k.forgotten, "are forgotten", s)
	}
	if s := b.dir.Stats(); s.CompactDamaged == 0 {
		t.Fatalf("%+v", s)
	}
	b.close()
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	b.open()
	for range 3 {
		b.put("hot=1")
		b.seal()
		b.compact()
	}
	if slices.Contains(k.forgotten, 4) || !slices.Contains(k.forgotten, 3) || !slices.Contains(k.forgotten, 5) {
		t.Fatal("the markers at", k.forgotten, "are forgotten, want those at 3 and 5")
	}
}

// TestMarkersThroughCrashes compacts logs of transactions again and again, and crashes them while at it.
func TestMarkersThroughCrashes(t *testing.T) {
	for seed := range uint64(orLong(8, 400)) {
		synctest.Test(t, func(t *testing.T) {
			e := &explorer{t: t, policy: policies[seed%2], tally: newTally(), thins: true, r: rand.New(rand.NewPCG(seed, 6))}
			e.every, e.cuts = orLong(40, 5), 1
			if err := e.run(seed, 2, 60); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
	}
}
