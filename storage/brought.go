package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"segue/storage/record"
	"segue/storage/vfs"
)

// Brought tells what a log that was written elsewhere, by Kafka say, and put into the directory has in its batches.
type Brought struct {
	// LeaderEpoch is the largest of its leader epochs, -1 if there is none.
	LeaderEpoch int32
	// ProducerID is the largest of its producer ids, -1 if there is none.
	ProducerID int64
}

// Brought reads a log that bears no mark of having been opened here: its folder says nothing of the topic's id, or has
// data and no index of ours. It returns false for any other, and reads nothing of it. The log must not be open. Damage
// is passed over, as Open judges it; so is a format that Open refuses.
func (d *Dir) Brought(ctx context.Context, id Identity) (found Brought, ok bool, err error) {
	folder := filepath.Join(d.path, id.Folder())
	if id.TopicID != [16]byte{} {
		// Most logs have their first segment still, and this asks less than the list of all that is there.
		if _, err := d.fs.Stat(filepath.Join(folder, segmentName(0)+indexSuffix)); err == nil {
			return found, false, nil
		}
	}
	entries, err := d.fs.ReadDir(folder)
	if err != nil {
		return found, false, fmt.Errorf("read what was brought of %s: %w", id, err)
	}
	var paths []string
	marked := id.TopicID != [16]byte{} && slices.ContainsFunc(entries, func(e vfs.Entry) bool {
		return strings.HasSuffix(e.Name, indexSuffix)
	})
	for _, e := range entries {
		if _, isData := parseSegmentName(e.Name); isData && !e.Dir && e.Size > 0 {
			paths = append(paths, filepath.Join(folder, e.Name))
		}
	}
	if marked || len(paths) == 0 {
		return found, false, nil
	}
	found = Brought{LeaderEpoch: -1, ProducerID: record.NoProducerID}
	for _, path := range paths {
		err := ScanFile(ctx, d.fs, path, func(s Scanned) error {
			if s.Err == nil {
				found.LeaderEpoch = max(found.LeaderEpoch, s.Batch.LeaderEpoch())
				found.ProducerID = max(found.ProducerID, s.Batch.ProducerID())
			}
			return nil
		})
		var corrupt *CorruptError
		if err != nil && !errors.Is(err, ErrUnsupported) && !errors.As(err, &corrupt) {
			return found, false, fmt.Errorf("read what was brought of %s: %w", id, err)
		}
	}
	return found, true, nil
}
