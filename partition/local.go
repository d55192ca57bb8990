package partition

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"segue/storage"
)

// Local returns the Store of the logs in local directories (log.dirs). A log stays in the directory that has it; a new
// one goes where the fewest are. The directories stay the caller's, who closes them after the partitions.
func Local(dirs ...*storage.Dir) Store {
	return &local{dirs: dirs}
}

// local spreads logs over directories.
type local struct {
	dirs []*storage.Dir

	mu    sync.Mutex                        // guards what follows; held across the one look into the directories
	homes map[storage.Identity]*storage.Dir // where each log is, or is to be; nil until they have been looked into
	count map[*storage.Dir]int              // logs in each directory
}

// Open implements Store.
func (l *local) Open(ctx context.Context, id storage.Identity, c storage.Config, e storage.Events, k storage.Keeper) (Log, error) {
	dir, err := l.find(ctx, id)
	if err != nil {
		return nil, err
	}
	log, err := dir.Open(ctx, id, c, e, k)
	if err != nil {
		return nil, err // and not a nil *storage.Log in an interface
	}
	return log, nil
}

// find returns the directory that has a log, or is to have it.
func (l *local) find(ctx context.Context, id storage.Identity) (*storage.Dir, error) {
	if len(l.dirs) == 1 {
		return l.dirs[0], nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.look(ctx); err != nil {
		return nil, err
	}
	if home := l.homes[id]; home != nil {
		return home, nil
	}
	// A folder of an early Kafka says nothing of the topic's id.
	if home := l.homes[storage.Identity{Topic: id.Topic, Partition: id.Partition}]; home != nil {
		return home, nil
	}
	if len(l.dirs) == 0 {
		return nil, errors.New("there is no log directory; set log.dirs")
	}
	fewest := l.dirs[0]
	for _, d := range l.dirs[1:] {
		if l.count[d] < l.count[fewest] {
			fewest = d
		}
	}
	l.homes[id] = fewest
	l.count[fewest]++
	return fewest, nil
}

// look finds out which logs are where, once. The caller holds mu.
func (l *local) look(ctx context.Context) error {
	if l.homes != nil {
		return nil
	}
	homes, count := make(map[storage.Identity]*storage.Dir), make(map[*storage.Dir]int)
	for _, d := range l.dirs {
		ids, err := d.List(ctx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if homes[id] != nil {
				return fmt.Errorf("%s lies in two of the log directories; move the older of the two folders elsewhere", id)
			}
			homes[id] = d
			count[d]++
		}
	}
	l.homes, l.count = homes, count
	return nil
}

// Delete implements Store.
func (l *local) Delete(ctx context.Context, id storage.Identity) error {
	for _, d := range l.dirs {
		if err := d.Delete(ctx, id); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if home := l.homes[id]; home != nil {
		delete(l.homes, id)
		l.count[home]--
	}
	return nil
}

// List implements Store.
func (l *local) List(ctx context.Context) ([]storage.Identity, error) {
	var all []storage.Identity
	for _, d := range l.dirs {
		ids, err := d.List(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
	}
	return all, nil
}
