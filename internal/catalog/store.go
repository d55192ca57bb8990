package catalog

import (
	"context"
	"errors"
	"fmt"
)

// Any is given to Commit for changes that rest on no version: they are applied to whatever image is the newest, and it
// is enough that they are possible there.
const Any int64 = -1

// ErrClosed says that the store was closed.
var ErrClosed = errors.New("the catalog is closed")

// ConflictError says that a commit rested on an image that is no longer the newest. Nothing was committed; the
// caller looks at the new image and decides again.
type ConflictError struct {
	At      int64 // the version that the changes rested on
	Current int64 // the newest version
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("the catalog has moved on from version %d to %d", e.At, e.Current)
}

// Store keeps a catalog. All methods may be called concurrently.
type Store interface {
	// Image returns the newest image that is durable. It never waits.
	Image() *Image

	// Commit makes changes durable, all or none, and returns the image right after them. At is the version of the
	// image that they rest on, or Any. When it returns, Image is at that version or above and every watcher has
	// seen it. The error is a *ConflictError, what Apply found wrong, KAFKA_STORAGE_ERROR with what the store's medium
	// said, ErrClosed, or the context's: after the last three the changes may yet be committed, or not.
	Commit(ctx context.Context, at int64, changes ...Change) (*Image, error)

	// Watch has fn called for every image, in order, one call at a time, with the one before it; the first call,
	// from an empty image to the newest, comes before Watch returns. A commit returns when fn has returned, so fn
	// should be quick, and it must not wait for a Commit or for Watch. Stop ends the calls; one
	// that is under way or about to begin may still come.
	Watch(fn func(prev, next *Image)) (stop func())

	// AllocateProducerIDs returns the first of n producer ids in a row that nobody was given before, nor will be,
	// whatever crashes. Errors are as of Commit; ids are lost then, and not given twice.
	AllocateProducerIDs(ctx context.Context, n int) (first int64, err error)

	// Close ends the store. Commits that are under way return, with ErrClosed if they were not committed for sure.
	// The image stays readable.
	Close() error
}

// Parts are the contents of an image, to make it again from.
type Parts struct {
	Version        int64
	ClusterID      string
	StartCount     int32
	NextProducerID int64
	Topics         []Topic
	Deleting       []Topic
	BrokerConfigs  map[string]map[string]string
	Features       map[string]int16
}

// Rebuild makes an image of its parts, which are the caller's to give away. It refuses what no changes could have
// led to.
func Rebuild(p Parts) (*Image, error) {
	if p.Version < 0 || p.StartCount < 0 || p.NextProducerID < 0 || len(p.ClusterID) > MaxClusterID ||
		p.StartCount > 0 && p.ClusterID == "" {
		return nil, fmt.Errorf("an image cannot have version %d, %d starts, next producer id %d and cluster id %.40q",
			p.Version, p.StartCount, p.NextProducerID, p.ClusterID)
	}
	e := newEdit(&Image{clusterID: p.ClusterID, startCount: p.StartCount, nextProducerID: p.NextProducerID})
	for i := range p.Topics {
		if err := e.checkNew(&p.Topics[i]); err != nil {
			return nil, err
		}
		e.put(&p.Topics[i])
	}
	for i := range p.Deleting {
		t := &p.Deleting[i]
		err := checkTopic(t)
		if err == nil {
			err = e.checkNewID(t)
		}
		if err != nil {
			return nil, fmt.Errorf("deleted %w", err)
		}
		e.deleting.set(t.ID, t)
	}
	for broker, configs := range p.BrokerConfigs {
		if err := (SetBrokerConfigs{Broker: broker, Configs: configs}).apply(e); err != nil {
			return nil, err
		}
	}
	for name, level := range p.Features {
		if err := (SetFeature{Name: name, Level: level}).apply(e); err != nil {
			return nil, err
		}
	}
	return e.done(p.Version), nil
}
