package broker

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"segue/storage/vfs"
)

// station is an interleaving of what the catalog and the folders go through, which some crash has to hit.
type station int

const (
	committedNotMade     station = iota // a topic is in the catalog, its folder is about to be made
	madeNotDurable                      // its folder is there, its name not yet durable
	renamedNotDurable                   // a deleted topic's folder has lost its name, not durably
	renamedNotForgotten                 // durably, and the catalog is about to forget the topic
	forgottenNotRemoved                 // the catalog has forgotten it, the folder is about to be removed
	removedNotForgotten                 // the folder is about to be removed, the catalog still has the topic
	checkpointNotDurable                // a checkpoint has its name, not durably
	startNotCounted                     // the broker is starting and has not yet counted the start
	startCountNotSynced                 // it has written it
	snapshotNotCut                      // the catalog has a snapshot, what lies before is about to be deleted
	cutNotRemoved                       // and what lies before is about to be removed
	recovering                          // a broker that found a crashed disk is about to change something on it
	stationCount
)

func (s station) String() string {
	return [...]string{
		"committedNotMade", "madeNotDurable", "renamedNotDurable", "renamedNotForgotten", "forgottenNotRemoved",
		"removedNotForgotten", "checkpointNotDurable", "startNotCounted", "startCountNotSynced", "snapshotNotCut",
		"cutNotRemoved", "recovering",
	}[s]
}

// stations counts the crashes at each.
type stations [stationCount]atomic.Int64

func (s *stations) hit(here []station) {
	for _, at := range here {
		s[at].Add(1)
	}
}

// first says whether no crash was at one of some stations yet.
func (s *stations) first(here []station) bool {
	return slices.ContainsFunc(here, func(at station) bool { return s[at].Load() == 0 })
}

// reached fails a test whose crashes have left a station out.
func (s *stations) reached(t *testing.T) {
	for at := range stationCount {
		if s[at].Load() == 0 {
			t.Errorf("no crash was at %v", at)
		}
	}
}

func (s *stations) add(o *stations) {
	for at := range o {
		s[at].Add(o[at].Load())
	}
}

// sightings tells from the operations of one life where it is.
type sightings struct {
	served      bool            // the start is counted
	written     bool            // to the catalog, since its last sync
	made        map[string]bool // folders whose names are not durable
	renamed     bool            // a folder has lost its name since the directory was last synced
	unforgotten bool            // and durably, since the catalog was last synced
	checkpoint  map[string]bool // folders with a checkpoint whose name is not durable
}

func isLogDir(name string) bool { return name == dataDir || name == secondDir }

// at notes an operation that is about to be done and returns the stations that the life is at.
func (s *sightings) at(op vfs.Op) (here []station) {
	if s.made == nil {
		s.made, s.checkpoint = map[string]bool{}, map[string]bool{}
	}
	say := func(at station, is bool) {
		if is && !slices.Contains(here, at) {
			here = append(here, at)
		}
	}
	folder, file := filepath.Split(op.Name)
	folder = filepath.Clean(folder)
	inCatalog := strings.Contains(op.Name, "@catalog")
	catalogLog := inCatalog && strings.HasSuffix(file, ".log")
	say(madeNotDurable, len(s.made) > 0)
	say(checkpointNotDurable, len(s.checkpoint) > 0)
	say(renamedNotDurable, s.renamed)
	say(startNotCounted, !s.served && !s.written)
	say(startCountNotSynced, !s.served && s.written)
	switch op.Kind {
	case vfs.OpMkdirAll:
		if isLogDir(folder) && !inCatalog {
			say(committedNotMade, true)
			s.made[op.Name] = true
		}
	case vfs.OpSyncDir:
		delete(s.checkpoint, op.Name)
		if isLogDir(op.Name) {
			s.unforgotten = s.unforgotten || s.renamed
			s.renamed = false
			maps.DeleteFunc(s.made, func(made string, _ bool) bool { return filepath.Dir(made) == op.Name })
		}
	case vfs.OpBulkSync:
		s.renamed, s.unforgotten = false, s.unforgotten || s.renamed
		clear(s.made)
		clear(s.checkpoint)
	case vfs.OpRename:
		if strings.HasSuffix(op.To, "-delete") {
			s.renamed = true
		}
		if strings.HasSuffix(op.To, ".checkpoint") {
			s.checkpoint[folder] = true
		}
		say(snapshotNotCut, inCatalog && strings.HasSuffix(op.To, "log-start-offset"))
	case vfs.OpRemoveAll:
		deleted := strings.HasSuffix(op.Name, "-delete")
		say(removedNotForgotten, deleted && s.unforgotten)
		say(forgottenNotRemoved, deleted && !s.unforgotten)
		say(cutNotRemoved, catalogLog)
	case vfs.OpRemove:
		say(cutNotRemoved, catalogLog)
	case vfs.OpWrite:
		say(renamedNotForgotten, catalogLog && s.unforgotten)
		s.written = s.written || catalogLog
	case vfs.OpSyncFile:
		if catalogLog && s.written {
			s.served, s.unforgotten, s.written = true, false, false
		}
	}
	return here
}
