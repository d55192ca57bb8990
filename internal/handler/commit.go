package handler

import (
	"context"
	"errors"

	"segue/internal/catalog"
)

// catalogStore is what requests need of the catalog that change it.
type catalogStore interface {
	Image() *catalog.Image
	Commit(ctx context.Context, at int64, changes ...catalog.Change) (*catalog.Image, error)
}

// commitJudged has judge say what is to be changed, in the light of an image, and commits that in one step. If somebody else
// was faster, it is judged anew. It returns the image in which the changes are, or the newest, and why they could not be
// committed. Without changes there is no commit.
func commitJudged(ctx context.Context, store catalogStore, judge func(*catalog.Image) []catalog.Change) (*catalog.Image, error) {
	for {
		image := store.Image()
		changes := judge(image)
		if len(changes) == 0 {
			return image, nil
		}
		next, err := store.Commit(ctx, image.Version(), changes...)
		if err == nil {
			return next, nil
		}
		if _, conflict := errors.AsType[*catalog.ConflictError](err); !conflict {
			return store.Image(), err
		}
	}
}
