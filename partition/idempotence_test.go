package partition_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"segue/partition"
	"segue/partition/logtest"
	"segue/storage"
	"segue/storage/record"
	"segue/storage/vfs"
)

// sent is a batch as a producer sends it, and as the model's log holds it.
type sent struct {
	id         int64
	epoch      int16
	seq, count int32
	base       record.Offset
}

func (s sent) next() record.Offset { return s.base + record.Offset(s.count) }
func (s sent) nextSeq() int32      { return record.SequenceAfter(s.seq, s.count) }

func (s sent) same(o sent) bool {
	return s.id == o.id && s.epoch == o.epoch && s.seq == o.seq && s.count == o.count
}

func (s sent) batch(t *testing.T) record.Batch {
	return logtest.Spec{Records: int(s.count), Time: 1, Producer: s.id + 1, ProducerEpoch: s.epoch, Sequence: s.seq}.Batch(t)
}

// modelLog is all batches of a log, in order: the rules of an idempotent producer, told the long way.
type modelLog []sent

// judge says what becomes of a batch: its code, the base offset that it is answered with, and whether it is a duplicate.
func (m modelLog) judge(s sent) (code string, base record.Offset, duplicate bool) {
	var own modelLog // the producer's batches in its latest epoch
	for _, old := range m {
		if old.id != s.id {
			continue
		}
		if len(own) > 0 && own[0].epoch != old.epoch {
			own = nil
		}
		own = append(own, old)
	}
	end := record.Offset(0)
	if len(m) > 0 {
		end = m[len(m)-1].next()
	}
	if len(own) == 0 {
		return "ok", end, false
	}
	for _, old := range own[max(0, len(own)-5):] {
		if old.same(s) {
			return "ok", old.base, true
		}
	}
	last := own[len(own)-1]
	switch {
	case s.epoch < last.epoch:
		return "INVALID_PRODUCER_EPOCH", 0, false
	case s.epoch > last.epoch && s.seq != 0, s.epoch == last.epoch && s.seq != last.nextSeq():
		return "OUT_OF_ORDER_SEQUENCE_NUMBER", 0, false
	}
	return "ok", end, false
}

// trial is a partition under random producers, and its model.
type trial struct {
	*testing.T
	rand  *rand.Rand
	p     *partition.Partition
	log   modelLog
	tried []sent // what was sent lately, written or not
	acked record.Offset
}

// produce sends a batch, or several together: the next one of a producer, one from before, or one that has no business to
// come now.
func (t *trial) produce() {
	t.Helper()
	var together []sent
	log := slices.Clone(t.log) // as it will be
	for range 1 + t.rand.IntN(5)*t.rand.IntN(2) {
		s := sent{id: t.rand.Int64N(3), count: 1 + t.rand.Int32N(3)}
		for _, old := range log {
			if old.id == s.id {
				s.epoch, s.seq = old.epoch, old.nextSeq()
			}
		}
		switch n := t.rand.IntN(10); {
		case n < 3 && len(t.tried) > 0:
			s = t.tried[t.rand.IntN(len(t.tried))]
		case n == 3:
			s.seq = record.SequenceAfter(s.seq, t.rand.Int32N(5))
		case n == 4:
			s.epoch += int16(t.rand.IntN(3) - 1)
			s.epoch = max(s.epoch, 0)
			s.seq = 0
		case n == 5 && s.epoch == 0 && s.seq == 0:
			s.seq = 2147483640 // so that some wrap
		}
		if code, base, duplicate := log.judge(s); code == "ok" && !duplicate {
			s.base = base
			log = append(log, s)
		}
		together = append(together, s)
		t.tried = append(t.tried, s)
		t.tried = t.tried[max(0, len(t.tried)-12):]
	}
	t.send(together...)
}

func (t *trial) send(together ...sent) (last partition.Ack) {
	t.Helper()
	all := make([]partition.Addition, len(together))
	for i, s := range together {
		all[i].Batch = s.batch(t.T)
	}
	t.p.AppendAll(context.Background(), -1, all, partition.Client)
	for i, s := range together {
		wantCode, wantBase, wantDuplicate := t.log.judge(s)
		ack, err := all[i].Ack, all[i].Err
		if got := code(err); got != wantCode {
			t.Fatalf("%+v of %+v gave %s (%v), want %s; the log is %+v", s, together, got, err, wantCode, t.log)
		}
		if err != nil {
			continue
		}
		s.base = wantBase
		if ack.Base != s.base || ack.Next != s.next() || ack.Duplicate != wantDuplicate {
			t.Fatalf("%+v of %+v was answered %d to %d, duplicate: %v, want %d to %d, %v", s, together, ack.Base, ack.Next, ack.Duplicate, s.base, s.next(), wantDuplicate)
		}
		if !wantDuplicate {
			t.log = append(t.log, s)
		}
		last = ack
	}
	return last
}

// survive compares what a crash has left with the model, and cuts the model to it.
func (t *trial) survive() {
	t.Helper()
	end := t.p.Offsets().LogEnd
	if end < t.acked {
		t.Fatalf("the log ends at %d, acknowledged was %d", end, t.acked)
	}
	n := slices.IndexFunc(t.log, func(s sent) bool { return s.next() > end })
	if n >= 0 {
		t.log = t.log[:n]
	}
	if n = len(t.log); n == 0 && end != 0 || n > 0 && t.log[n-1].next() != end {
		t.Fatalf("the log ends at %d, in the middle of a batch of %+v", end, t.log)
	}
	if o := t.p.Offsets(); o.HighWatermark != end {
		t.Fatalf("after a start the marks are %+v", o)
	}
}

// TestIdempotence has random producers send, retry and err, while the log commits when it likes and the broker is killed.
func TestIdempotence(t *testing.T) {
	rounds := 150
	if testing.Short() {
		rounds = 20
	}
	for range rounds {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			ctx := context.Background()
			tr := &trial{T: t, rand: rand.New(rand.NewPCG(seed, 0))}
			store := logtest.NewMemory()
			log := store.Log(theID)
			log.Hold()
			epoch := int32(0)
			open := func() {
				t.Helper()
				var err error
				epoch++
				if tr.p, err = partition.Open(ctx, store, theID, epoch, testConfig(), codecs()); err != nil {
					t.Fatal(err)
				}
				tr.survive()
			}
			open()
			for range 150 {
				switch n := tr.rand.IntN(100); {
				case n < 75:
					tr.produce()
				case n < 85:
					if len(tr.log) > 0 {
						to := tr.log[tr.rand.IntN(len(tr.log))].next()
						log.Commit(to)
						tr.acked = max(tr.acked, to)
					}
				case n < 90:
					log.CommitAll()
					tr.acked = tr.p.Offsets().LogEnd
					if err := tr.p.Checkpoint(ctx); err != nil {
						t.Fatal(err)
					}
				case n < 93:
					log.CommitAll()
					tr.acked = tr.p.Offsets().LogEnd
					start := record.Offset(tr.rand.Int64N(int64(tr.acked) + 1))
					if _, err := tr.p.DeleteBefore(ctx, start); err != nil {
						t.Fatal(err)
					}
				case n < 98:
					log.Crash(tr.rand.IntN(4))
					open()
				default:
					log.CommitAll()
					tr.acked = tr.p.Offsets().LogEnd
					if err := tr.p.Close(ctx); err != nil {
						t.Fatal(err)
					}
					open()
				}
			}
		})
	}
}

// TestIdempotenceOnStorage does the same on real logs, whose disk loses what a power cut may take.
func TestIdempotenceOnStorage(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			tr := &trial{T: t, rand: rand.New(rand.NewPCG(seed, 0))}
			c := testConfig()
			c.Log.FlushMessages = []int64{1, 1000}[tr.rand.IntN(2)]
			disk := vfs.NewCrashable()
			for life := range int32(5) {
				disk = tr.live(disk, life, c)
			}
		})
	}
}

// live runs the partition until its end, which is a power cut, a kill or a stop, and returns the disk as that left it.
func (t *trial) live(disk *vfs.Crashable, epoch int32, c partition.Config) *vfs.Crashable {
	t.Helper()
	ctx := context.Background()
	dir, err := storage.OpenDir("data", storage.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	if t.p, err = partition.Open(ctx, partition.Local(dir), theID, epoch, c, codecs()); err != nil {
		t.Fatal(err)
	}
	t.survive()
	for range 60 {
		switch n := t.rand.IntN(40); {
		case n < 37:
			t.produce()
		case n == 37 && len(t.log) > 0:
			// Nobody relies on what flush.messages above 1 has not synced.
			last := t.log[len(t.log)-1]
			if _, _, duplicate := t.log.judge(last); duplicate {
				if err := t.send(last).Wait(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if c.Log.FlushMessages == 1 {
				t.acked = max(t.acked, last.next())
			}
		case n == 38:
			if err := t.p.Checkpoint(ctx); err != nil {
				t.Fatal(err)
			}
			t.acked = t.p.Offsets().LogEnd // a checkpoint syncs
		}
	}
	var next *vfs.Crashable
	switch t.rand.IntN(3) {
	case 0:
		next = disk.Crash(t.rand)
	case 1:
		next = disk.Kill()
		t.acked = t.p.Offsets().LogEnd // what was written outlives the process
	}
	if err := errors.Join(t.p.Close(ctx), dir.Close()); err != nil {
		t.Fatal(err)
	}
	if next == nil {
		t.acked = t.p.Offsets().LogEnd
		return disk
	}
	return next
}

// A new producer has two batches in flight when the disk is full for the first and not for the second: what it sent
// second must not be written first, which the log alone would allow, since it knows nothing of the producer.
func TestFirstBatchNotWritten(t *testing.T) {
	ctx := context.Background()
	store := logtest.NewMemory()
	p, err := partition.Open(ctx, store, theID, 0, testConfig(), codecs())
	if err != nil {
		t.Fatal(err)
	}
	try := func(s sent, want string) {
		t.Helper()
		got := "ok"
		if _, err := p.Append(ctx, -1, s.batch(t), partition.Client); err != nil {
			got = code(err)
		}
		if got != want {
			t.Errorf("sequence %d in epoch %d: %s, want %s", s.seq, s.epoch, got, want)
		}
	}
	log := store.Log(theID)
	log.RefuseWrites(syscall.ENOSPC)
	try(sent{seq: 0, count: 2}, "KAFKA_STORAGE_ERROR")
	try(sent{id: 1, seq: 7, count: 2}, "KAFKA_STORAGE_ERROR") // one whose batches were deleted
	try(sent{id: 2, seq: 0, count: 1}, "KAFKA_STORAGE_ERROR")
	log.RefuseWrites(nil)
	try(sent{seq: 2, count: 1}, "OUT_OF_ORDER_SEQUENCE_NUMBER")
	try(sent{seq: 0, count: 2}, "ok")
	try(sent{seq: 2, count: 1}, "ok")
	try(sent{id: 1, seq: 9, count: 1}, "OUT_OF_ORDER_SEQUENCE_NUMBER")
	try(sent{id: 1, seq: 7, count: 2}, "ok")
	try(sent{id: 2, epoch: 1, seq: 0, count: 5}, "ok") // it has given that batch up
	try(sent{id: 3, seq: 4, count: 1}, "ok")
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestPartNotWritten has the disk take two of the batches that come together. Each of the others has the outcome that it
// would have had alone.
func TestPartNotWritten(t *testing.T) {
	ctx := context.Background()
	for _, test := range []struct {
		name     string
		together []sent
		want     []string
	}{
		{"one producer", []sent{{seq: 3, count: 1}, {seq: 4, count: 2}, {seq: 6, count: 1}, {seq: 7, count: 1}, {seq: 3, count: 1}},
			[]string{"0 to 1", "1 to 3", "KAFKA_STORAGE_ERROR", "OUT_OF_ORDER_SEQUENCE_NUMBER", "0 to 1"}},
		{"several", []sent{{seq: 3, count: 1}, {id: 1, count: 1}, {id: 2, count: 1}, {id: 2, seq: 1, count: 1}, {id: 3, count: 1}, {id: 1, count: 1}},
			[]string{"0 to 1", "1 to 2", "KAFKA_STORAGE_ERROR", "OUT_OF_ORDER_SEQUENCE_NUMBER", "KAFKA_STORAGE_ERROR", "1 to 2"}},
		{"none", []sent{{id: -1, count: 1}, {id: -1, count: 1}, {id: -1, count: 1}, {id: -1, count: 1}},
			[]string{"0 to 1", "1 to 2", "KAFKA_STORAGE_ERROR", "KAFKA_STORAGE_ERROR"}},
	} {
		store := logtest.NewMemory()
		p, err := partition.Open(ctx, store, theID, 0, testConfig(), codecs())
		if err != nil {
			t.Fatal(err)
		}
		store.Log(theID).RefuseWritesBehind(2, syscall.ENOSPC)
		all := make([]partition.Addition, len(test.together))
		for i, s := range test.together {
			all[i].Batch = s.batch(t)
		}
		p.AppendAll(ctx, -1, all, partition.Client)
		for i, a := range all {
			got := fmt.Sprintf("%d to %d", a.Ack.Base, a.Ack.Next)
			if a.Err != nil {
				got = code(a.Err)
			}
			if got != test.want[i] {
				t.Errorf("%s: batch %d: %s (%v), want %s", test.name, i, got, a.Err, test.want[i])
			}
		}
		store.Log(theID).RefuseWrites(nil)
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRetryOfARecordThatRetentionTook has retention take all that a producer ever wrote, and the process die before
// anything else was saved. A retry of its batch is still known for one.
func TestRetryOfARecordThatRetentionTook(t *testing.T) {
	ctx := context.Background()
	disk := vfs.NewCrashable()
	c := testConfig()
	c.Log.SegmentBytes, c.Log.RetentionBytes = 500, 1000
	open := func(disk *vfs.Crashable, epoch int32) (*storage.Dir, *partition.Partition) {
		dir, err := storage.OpenDir("data", storage.Options{FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		p, err := partition.Open(ctx, partition.Local(dir), theID, epoch, c, codecs())
		if err != nil {
			t.Fatal(err)
		}
		return dir, p
	}
	send := func(p *partition.Partition, s sent) partition.Ack {
		ack, err := p.Append(ctx, -1, s.batch(t), partition.Client)
		if err == nil {
			err = ack.Wait(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		return ack
	}
	dir, p := open(disk, 1)
	first := sent{id: 1, count: 3}
	send(p, first)
	for i := range int32(30) {
		send(p, sent{id: 2, seq: i, count: 1})
	}
	if err := dir.Clean(ctx); err != nil {
		t.Fatal(err)
	}
	if start := p.Offsets().LogStart; start < first.next() {
		t.Fatalf("the log starts at %d", start)
	}
	left := []*vfs.Crashable{disk.Kill(), disk.Crash(rand.New(rand.NewPCG(1, 1)))}
	if err := errors.Join(p.Close(ctx), dir.Close()); err != nil {
		t.Fatal(err)
	}
	for _, disk := range left {
		dir, p := open(disk, 2)
		if ack := send(p, first); !ack.Duplicate || ack.Base != 0 {
			t.Errorf("a retry was answered %+v", ack)
		}
		if err := errors.Join(p.Close(ctx), dir.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
