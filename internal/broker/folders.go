package broker

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"segue/internal/catalog"
	"segue/internal/catalog/local"
	"segue/storage"
)

// catalogID is the log of the catalog, in the first log directory.
func catalogID() storage.Identity {
	return storage.Identity{Topic: local.Topic, Partition: local.Partition}
}

// checkFolders holds the folders of all topics against the catalog. A topic is in the catalog before it has a folder, and
// until its folders have lost their names; so a folder that the catalog does not know says that the catalog is missing, or
// older than the data. To start then would be to take those topics for deleted.
func checkFolders(ctx context.Context, dirs []*storage.Dir, image *catalog.Image) error {
	var unknown []string
	for _, d := range dirs {
		ids, err := d.List(ctx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			known, err := isKnown(d, id, image)
			if err != nil {
				return err
			}
			if !known {
				unknown = append(unknown, filepath.Join(d.Path(), id.Folder()))
			}
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
	place := filepath.Join(dirs[0].Path(), catalogID().Folder())
	if image.Version() == 0 {
		return fmt.Errorf("there is no catalog in %s, but there are folders of topics: %s. To start would be to lose these topics. "+
			"Put %s back from a copy; or, to begin anew, move the folders elsewhere", place, names, place)
	}
	return fmt.Errorf("the catalog in %s does not know the topics of these folders: %s. It is not the catalog that was last "+
		"used with this data, and to start would be to lose these topics. Put the newest copy of %s back; or, to start without the "+
		"folders, move them elsewhere", place, names, place)
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
