package partition_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"segue/partition"
	"segue/storage"
	"segue/storage/record"
)

// keyed makes a batch of one record with a key, of a producer.
func keyed(t *testing.T, id int64, seq int32, key string) record.Batch {
	t.Helper()
	bb := record.NewBuilder(0)
	bb.ProducerID, bb.ProducerEpoch, bb.BaseSequence = id, 0, seq
	bb.Add(time.Now().UnixMilli(), []byte(key), []byte("value"))
	b, err := bb.Build()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCompactionKeepsProducers: of a producer whose records are all superseded the last batch stays, so that a retry is
// known as one and the next number as the next, also when nothing but the log is left to tell.
func TestCompactionKeepsProducers(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "data")
	config := testConfig()
	config.Log.Compact, config.Log.Delete, config.Log.SegmentBytes = true, false, 300
	var dir *storage.Dir
	var p *partition.Partition
	open := func() {
		t.Helper()
		var err error
		if dir, err = storage.OpenDir(path, storage.Options{Compactors: -1, Reserve: 64 << 10}); err != nil {
			t.Fatal(err)
		}
		if p, err = partition.Open(ctx, partition.Local(dir), theID, 1, config, codecs()); err != nil {
			t.Fatal(err)
		}
	}
	shut := func() {
		t.Helper()
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if err := dir.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write := func(id int64, seq int32, key string) (partition.Ack, error) {
		ack, err := p.Append(ctx, -1, keyed(t, id, seq, key), partition.Client)
		if err == nil {
			err = ack.Wait(ctx)
		}
		return ack, err
	}
	open()
	for seq := range int32(3) {
		if _, err := write(7, seq, "a"); err != nil {
			t.Fatal(err)
		}
	}
	for seq := range int32(20) { // of another producer, over several segments
		if _, err := write(8, seq, "a"); err != nil {
			t.Fatal(err)
		}
	}
	before := p.Size()
	if err := dir.Compact(ctx); err != nil {
		t.Fatal(err)
	}
	if p.Size() > before*2/3 {
		t.Fatalf("%d bytes are left of %d", p.Size(), before)
	}
	shut()
	checkpoints, err := filepath.Glob(filepath.Join(path, "*", "*.checkpoint"))
	if err != nil || len(checkpoints) == 0 {
		t.Fatal(checkpoints, err)
	}
	for _, c := range checkpoints {
		if err := os.Remove(c); err != nil {
			t.Fatal(err)
		}
	}
	open()
	defer shut()
	if ack, err := write(7, 2, "a"); err != nil || !ack.Duplicate || ack.Base != 2 {
		t.Fatalf("a retry is answered with %+v, %v", ack, err)
	}
	if _, err := write(7, 4, "a"); code(err) != "OUT_OF_ORDER_SEQUENCE_NUMBER" {
		t.Fatal("a gap is answered with", err)
	}
	if ack, err := write(7, 3, "a"); err != nil || ack.Duplicate || ack.Base != 23 {
		t.Fatalf("the next is answered with %+v, %v", ack, err)
	}
}
