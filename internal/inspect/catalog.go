package inspect

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"segue/internal/catalog"
	"segue/internal/catalog/local"
	"segue/storage"
	"segue/storage/record"
)

// catalogID is the log that the catalog is kept in.
func catalogID() storage.Identity {
	return storage.Identity{Topic: local.Topic, Partition: local.Partition}
}

const outcomeNoStart = "the broker does not start, as it would take topics for deleted; put the folder back from a copy"

// catalogLog verifies the catalog's log like any other, but for what comes of damage. It says where that log ends, and
// whether its batches are damaged.
func (v *verification) catalogLog(ctx context.Context) (cut storage.Verified, damaged bool, err error) {
	report := v.report
	for _, l := range v.logs {
		if l.id.Topic != local.Topic {
			continue
		}
		cut, err = v.log(ctx, l, func(f storage.Finding) {
			if !f.Note && f.From >= 0 {
				f.Outcome, damaged = outcomeNoStart, true
			}
			report(f)
		})
		if err != nil {
			return cut, damaged, err
		}
	}
	return cut, damaged, nil
}

// catalog reads the catalog and holds the folders of the topics against it. Cut says where the catalog's log ends, if the
// next start will cut it.
func (v *verification) catalog(ctx context.Context, cut storage.Verified) error {
	image, at, err := v.readCatalog(ctx, cut)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		v.report(storage.Finding{File: at.file, Position: at.position, From: at.offset, To: -1, Err: err,
			Outcome: outcomeNoStart})
		return nil
	}
	v.image = image
	topics, unknown := 0, 0
	for _, l := range v.logs {
		if l.id.Topic == local.Topic {
			continue
		}
		topics++
		if image.Version() > 0 && l.id.TopicID != [16]byte{} && !image.Knows(l.id.TopicID) {
			unknown++
			v.report(storage.Finding{File: l.path(), Position: -1, From: -1, To: -1,
				Err:     fmt.Errorf("the catalog does not know its topic id, %s", catalog.FormatID(l.id.TopicID)),
				Outcome: "the broker does not start; put the catalog back that this folder was written with, or move the folder elsewhere"})
		}
	}
	if image.Version() == 0 && topics > 0 {
		v.report(storage.Finding{File: filepath.Join(v.opened[0].Path(), catalogID().Folder()), Position: -1, From: -1, To: -1,
			Err:     fmt.Errorf("there is no catalog, and there are %s of topics", plural(int64(topics), "folder")),
			Outcome: "the broker does not start; put the catalog back from a copy"})
		v.image = nil
	}
	return nil
}

// spot is a place in a log.
type spot struct {
	file     string
	position int64
	offset   record.Offset
}

// errCut ends the reading of a log where the next start will end it.
var errCut = errors.New("cut")

// readCatalog folds the catalog's log. After an error the spot is where it can be read no further.
func (v *verification) readCatalog(ctx context.Context, cut storage.Verified) (*catalog.Image, spot, error) {
	in := v.opened[0]
	folder := filepath.Join(in.Path(), catalogID().Folder())
	start, err := storage.ReadLogStart(v.options.FS, folder)
	if err != nil {
		return nil, spot{folder, -1, -1}, err
	}
	fold := local.NewFold(start)
	files, err := in.Segments(catalogID())
	if err != nil && !isMissing(err) {
		return nil, spot{folder, -1, -1}, err
	}
	for _, file := range files {
		at := spot{file, -1, -1}
		err := storage.ScanFile(ctx, v.options.FS, file, func(s storage.Scanned) error {
			at.position, at.offset = s.Position, s.Low
			switch {
			case file == cut.CutFile && s.Position >= cut.CutAt:
				return errCut
			case s.Err != nil:
				return s.Err
			case s.High <= start:
				return nil
			}
			return fold.Add(s.Batch)
		})
		if errors.Is(err, errCut) {
			break
		}
		if err != nil {
			return nil, at, err
		}
	}
	return fold.Image(), spot{}, nil
}
