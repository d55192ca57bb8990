package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"segue/storage/record"
)

// TestUnfinishedFolderOfKafka: a Kafka that was killed amid an exchange of segments has left data in a file without its
// name. Such a folder is refused, and nothing in it is changed.
func TestUnfinishedFolderOfKafka(t *testing.T) {
	d, err := OpenDir(t.TempDir(), Options{Reserve: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	folder := filepath.Join(d.Path(), testID.Folder())
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(7)
	b.LeaderEpoch, b.ProducerID, b.ProducerEpoch, b.BaseSequence = 12, 34, 0, 0
	b.Add(1, nil, []byte("value"))
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	swap := filepath.Join(folder, segmentName(7)+dataSuffix+swapSuffix)
	for _, name := range []string{swap, filepath.Join(folder, segmentName(7)+dataSuffix), filepath.Join(folder, segmentName(7)+kafkaIndexSuffix)} {
		if err := os.WriteFile(name, batch.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, id := context.Background(), Identity{Topic: testID.Topic, Partition: testID.Partition}
	if found, ok, err := d.Brought(ctx, id); !ok || err != nil || found != (Brought{12, 34}) {
		t.Errorf("brought: %+v, %t, %v", found, ok, err)
	}
	if _, err := d.Open(ctx, testID, testConfig(), quietEvents{}, nil); !errors.Is(err, ErrUnsupported) {
		t.Errorf("open: %v", err)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 3 {
		t.Errorf("the folder holds %v now, %v", entries, err)
	}
	if err := os.Remove(swap); err != nil {
		t.Fatal(err)
	}
	l, err := d.Open(ctx, testID, testConfig(), quietEvents{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if start, _, end := l.Bounds(); start != 7 || end != 8 {
		t.Errorf("it holds %d to %d", start, end)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := d.Brought(ctx, testID); ok || err != nil {
		t.Errorf("a log that was opened here passes for one that was brought: %v", err)
	}
}
