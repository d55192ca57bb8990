package partition_test

import (
	"context"
	"slices"
	"testing"

	"segue/partition"
	"segue/partition/logtest"
	"segue/storage"
	"segue/storage/record"
	"segue/storage/vfs"
)

// quietEvents are for a log whose events are nobody's business.
type quietEvents struct{}

func (quietEvents) Committed(record.Offset) {}
func (quietEvents) Failed(error)            {}

func openDirs(t *testing.T, disk vfs.FS, names ...string) []*storage.Dir {
	t.Helper()
	var dirs []*storage.Dir
	for _, name := range names {
		dir, err := storage.OpenDir(name, storage.Options{FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

func closeDirs(t *testing.T, dirs []*storage.Dir) {
	t.Helper()
	for _, d := range dirs {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Logs are spread over the directories, stay where they are, and are found there again.
func TestLocalSpreads(t *testing.T) {
	ctx := context.Background()
	disk := vfs.NewCrashable()
	openings := slices.Concat(topic('a', 4), topic('b', 3))
	dirs := openDirs(t, disk, "one", "two")
	for round := range 3 {
		m := partition.NewManager(partition.Local(dirs...), partition.ManagerOptions{Codecs: codecs()})
		for i := range openings {
			openings[i].Epoch = int32(round)
		}
		if err := m.Open(ctx, openings, nil); err != nil {
			t.Fatal(err)
		}
		for _, o := range openings {
			ack := appendTo(t, m, o.Identity, logtest.Spec{Time: 1})
			if int(ack.Base) != round {
				t.Errorf("round %d: %s goes on at %d", round, o.Identity, ack.Base)
			}
			if err := ack.Wait(ctx); err != nil {
				t.Error(err)
			}
		}
		if err := m.Close(ctx); err != nil {
			t.Fatal(err)
		}
		closeDirs(t, dirs)
		dirs = openDirs(t, disk, "one", "two", "three")
		var counts []int
		for _, d := range dirs {
			ids, err := d.List(ctx)
			if err != nil {
				t.Fatal(err)
			}
			counts = append(counts, len(ids))
		}
		slices.Sort(counts)
		if !slices.Equal(counts, []int{0, 3, 4}) {
			t.Errorf("round %d: the directories hold %v logs", round, counts)
		}
	}
	// A new log goes where the fewest are. A deleted one is deleted wherever it is.
	store := partition.Local(dirs...)
	log, err := store.Open(ctx, topic('c', 1)[0].Identity, logtest.Config(), quietEvents{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := log.Append(ctx, 0, logtest.Spec{Time: 1}.Batch(t)); err != nil {
		t.Fatal(err)
	}
	if ids, err := dirs[2].List(ctx); err != nil || len(ids) != 1 {
		t.Errorf("the empty directory holds %v, %v", ids, err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for _, o := range openings {
		if err := store.Delete(ctx, o.Identity); err != nil {
			t.Error(err)
		}
	}
	if ids, err := store.List(ctx); err != nil || len(ids) != 1 || ids[0].Topic != "c" {
		t.Errorf("what is left: %v, %v", ids, err)
	}
	closeDirs(t, dirs)
}

// A log in two directories is a mistake that nobody but the operator can put right.
func TestLocalRefusesTwins(t *testing.T) {
	ctx := context.Background()
	disk := vfs.NewCrashable()
	id := topic('a', 1)[0].Identity
	for _, name := range []string{"one", "two"} {
		dirs := openDirs(t, disk, name)
		log, err := partition.Local(dirs...).Open(ctx, id, logtest.Config(), quietEvents{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := log.Append(ctx, 0, logtest.Spec{Time: 1}.Batch(t)); err != nil {
			t.Fatal(err)
		}
		closeDirs(t, dirs)
	}
	dirs := openDirs(t, disk, "one", "two")
	defer closeDirs(t, dirs)
	if _, err := partition.Local(dirs...).Open(ctx, id, logtest.Config(), quietEvents{}, nil); err == nil {
		t.Error("a log that lies in two directories was opened")
	}
	if _, err := partition.Local().Open(ctx, id, logtest.Config(), quietEvents{}, nil); err == nil {
		t.Error("a log was opened in no directory")
	}
}

// A power cut may take the topic id of a folder in which nothing was acknowledged. If its topic is being deleted, the
// folder goes with it; else the next topic of that name would begin with records that it was never sent.
func TestDeleteTopicWhoseIDWasNotDurable(t *testing.T) {
	ctx := context.Background()
	disk := vfs.NewCrashable()
	dirs := openDirs(t, disk, "data")
	m := partition.NewManager(partition.Local(dirs...), partition.ManagerOptions{Codecs: codecs()})
	old, kept := topic('a', 1), topic('b', 1)
	if err := m.Open(ctx, slices.Concat(old, kept), nil); err != nil {
		t.Fatal(err)
	}
	appendTo(t, m, old[0].Identity, logtest.Spec{Time: 1})
	appendTo(t, m, kept[0].Identity, logtest.Spec{Time: 1})
	if err := m.Close(ctx); err != nil {
		t.Fatal(err)
	}
	closeDirs(t, dirs)
	if err := disk.Remove("data/a-0/partition.metadata"); err != nil {
		t.Fatal(err)
	}

	dirs = openDirs(t, disk, "data")
	m = partition.NewManager(partition.Local(dirs...), partition.ManagerOptions{Codecs: codecs()})
	if err := m.Delete(ctx, "a", old[0].Identity.TopicID); err != nil {
		t.Fatal(err)
	}
	next := topic('a', 1)
	next[0].Identity.TopicID = [16]byte{'A'}
	if err := m.Open(ctx, slices.Concat(next, kept), nil); err != nil {
		t.Fatal(err)
	}
	for o, want := range map[*partition.Opening]record.Offset{&next[0]: 0, &kept[0]: 1} {
		if ack := appendTo(t, m, o.Identity, logtest.Spec{Time: 1}); ack.Base != want {
			t.Errorf("%s goes on at %d, want %d", o.Identity, ack.Base, want)
		}
	}
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
	closeDirs(t, dirs)
}
