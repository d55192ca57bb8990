package broker

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"segue/internal/catalog"
	"segue/internal/catalog/local"
	"segue/storage"
)

// catalogID is the log of the catalog, in the first log directory.
func catalogID() storage.Identity {
	return storage.Identity{Topic: local.Topic, Partition: local.Partition}
}

// folder is one of a log in one of the directories.
type folder struct {
	dir *storage.Dir
	id  storage.Identity // the topic id is zero where none is written down
}

func (f folder) path() string { return filepath.Join(f.dir.Path(), f.id.Folder()) }

// listFolders returns the folders of all logs.
func listFolders(ctx context.Context, dirs []*storage.Dir) (folders []folder, err error) {
	for _, d := range dirs {
		ids, err := d.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			folders = append(folders, folder{d, id})
		}
	}
	return folders, nil
}

// checkFolders holds the folders of all topics against the catalog. A topic is in the catalog before it has a folder, and
// until its folders have lost their names; so a folder that the catalog does not know says that the catalog is missing, or
// older than the data. To start then would be to take those topics for deleted.
func checkFolders(folders []folder, catalogIn *storage.Dir, image *catalog.Image) error {
	var unknown []string
	for _, f := range folders {
		known, err := isKnown(f.dir, f.id, image)
		if err != nil {
			return err
		}
		if !known {
			unknown = append(unknown, f.path())
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	const named = 3
	names := strings.Join(unknown[:min(named, len(unknown))], ", ")
	if len(unknown) > named {
		names += fmt.Sprintf(" and %d more", len(unknown)-named)
	}
	place := folder{catalogIn, catalogID()}.path()
	if image.Version() == 0 {
		return fmt.Errorf("there is no catalog in %s, but there are folders of topics: %s. To start would be to lose these topics. "+
			"Put %s back from a copy; or, to begin anew, move the folders elsewhere", place, names, place)
	}
	return fmt.Errorf("the catalog in %s does not know the topics of these folders: %s. It is not the catalog that was last "+
		"used with this data, and to start would be to lose these topics. Put the newest copy of %s back; or, to start without the "+
		"folders, move them elsewhere. If they were brought from Kafka and the catalog has topics of these names, remove the "+
		"partition.metadata in each of them", place, names, place)
}

// isKnown says whether the catalog knows what a folder is of. One without a topic id, which a power cut may leave of a first
// write that was never synced, is known by its name, that of a topic which is being deleted too; if the name means nothing
// either, it matters only if it holds batches.
func isKnown(d *storage.Dir, id storage.Identity, image *catalog.Image) (bool, error) {
	if id.Topic == local.Topic {
		return true, nil
	}
	if id.TopicID != [16]byte{} {
		return image.Knows(id.TopicID), nil
	}
	if _, ok := image.Topic(id.Topic); ok {
		return true, nil
	}
	if slices.ContainsFunc(image.Deleting(), func(t *catalog.Topic) bool { return t.Name == id.Topic }) {
		return true, nil
	}
	n, err := d.Bytes(id)
	return n == 0, err
}

// surpassBrought looks for logs that were brought from elsewhere and returns the change, if any, by which this start's
// leader epoch and all producer ids to come are larger than those in them. It is committed together with the start, so
// before a log is opened: what was brought is read for it at the first start only.
func surpassBrought(ctx context.Context, folders []folder, log zerolog.Logger) ([]catalog.Change, error) {
	most := catalog.Surpass{LeaderEpoch: -1, ProducerID: -1}
	var mu sync.Mutex // guards most
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLooks)
	for _, f := range folders {
		if f.id.Topic == local.Topic {
			continue
		}
		group.Go(func() error {
			found, ok, err := f.dir.Brought(ctx, f.id)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil: // most likely it cannot be opened either, and that is no reason to keep the others from it
				log.Error().Err(err).Msg("if the log was brought from elsewhere, stop the broker before it is written to, remove its " +
					"partition.metadata, and start again")
				return nil
			case !ok:
				return nil
			}
			if found.LeaderEpoch > catalog.MaxSurpassedEpoch || found.ProducerID > catalog.MaxSurpassedProducerID {
				return fmt.Errorf("%s has batches of leader epoch %d and producer id %d, and so large ones are damage; "+
					"move the folder elsewhere", f.path(), found.LeaderEpoch, found.ProducerID)
			}
			log.Info().Str("folder", f.path()).Int32("leader_epoch", found.LeaderEpoch).Int64("producer_id", found.ProducerID).
				Msg("the log was brought from elsewhere; this start's leader epoch, and new producer ids, will be larger than those in it")
			mu.Lock()
			defer mu.Unlock()
			most.LeaderEpoch, most.ProducerID = max(most.LeaderEpoch, found.LeaderEpoch), max(most.ProducerID, found.ProducerID)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if most.LeaderEpoch < 0 && most.ProducerID < 0 {
		return nil, nil
	}
	return []catalog.Change{most}, nil
}

// parallelLooks is how many folders are looked into side by side.
const parallelLooks = 8
