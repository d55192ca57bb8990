package local

import (
	"errors"
	"fmt"

	"segue/internal/catalog"
	"segue/storage/record"
)

// Fold makes an image of the batches of a catalog's log, one after the other. NewFold makes one.
type Fold struct {
	image   *catalog.Image
	start   record.Offset // of the log
	at      record.Offset // of the batch that is next
	first   bool          // nothing was added yet
	changes int           // behind the last snapshot
}

// NewFold returns a Fold for a log that starts at an offset.
func NewFold(start record.Offset) *Fold { return &Fold{start: start, at: start, first: true} }

// Image is what the batches that were added lead to.
func (f *Fold) Image() *catalog.Image {
	if f.image == nil {
		return &catalog.Image{}
	}
	return f.image
}

// Add takes in the next batch, checksum included. After an error the Fold is as it was, and nothing behind that batch can
// be understood.
func (f *Fold) Add(b record.Batch) error {
	if b.BaseOffset() != f.at {
		return fmt.Errorf("a batch begins at offset %d", b.BaseOffset())
	}
	next, snapshot, err := applyBatch(f.Image(), b, f.first)
	if err != nil {
		return err
	}
	if f.first && !snapshot && f.start > 0 {
		return errors.New("the log begins there, and not with a snapshot")
	}
	if f.changes += int(b.Count()); snapshot {
		f.changes = 0
	}
	f.image, f.at, f.first = next, b.NextOffset(), false
	return nil
}
