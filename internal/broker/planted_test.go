package broker

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"segue/storage/record"
	"segue/storage/vfs"
)

// liar is a file system that lies to the broker: a stand-in for a broker that forgets something.
type liar struct {
	vfs.FS
	syncs  func(name string) bool                        // whether a file's sync does nothing
	names  func(dir string) bool                         // whether a directory's sync does nothing
	writes func(name string, p []byte, off int64) []byte // what is written instead
}

func (l *liar) Open(name string) (vfs.File, error)     { return l.file(l.FS.Open(name)) }
func (l *liar) OpenFile(name string) (vfs.File, error) { return l.file(l.FS.OpenFile(name)) }
func (l *liar) Create(name string) (vfs.File, error)   { return l.file(l.FS.Create(name)) }

func (l *liar) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &lyingFile{f, l}, nil
}

func (l *liar) SyncDir(name string) error {
	if l.names != nil && l.names(name) {
		return nil
	}
	return l.FS.SyncDir(name)
}

// BulkSync says that there is none: it would tell the truth.
func (l *liar) BulkSync(string) (vfs.Syncer, bool) { return nil, false }

type lyingFile struct {
	vfs.File
	liar *liar
}

func (f *lyingFile) Sync() error {
	if f.liar.syncs != nil && f.liar.syncs(f.Name()) {
		return nil
	}
	return f.File.Sync()
}

func (f *lyingFile) WriteAt(p []byte, off int64) (int, error) {
	if f.liar.writes != nil {
		p = f.liar.writes(f.Name(), bytes.Clone(p), off)
	}
	return f.File.WriteAt(p, off)
}

func (f *lyingFile) WriteParts(parts [][]byte, off int64) error {
	_, err := f.WriteAt(slices.Concat(parts...), off)
	return err
}

// emptyState puts a state that knows of nothing into a partition's checkpoint, which says that it covers the log.
func emptyState(name string, p []byte, _ int64) []byte {
	const fixed, lengthAt = 84, 80 // see storage/FORMAT.md
	if !strings.HasSuffix(name, "/partition.checkpoint.tmp") || len(p) < fixed {
		return p
	}
	p = append(p[:fixed], 3, 0, 0, 0, 0) // version 3, no epochs, no producers, no transactions
	binary.LittleEndian.PutUint32(p[lengthAt:], 5)
	return binary.LittleEndian.AppendUint32(p, crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
}

// uncounted takes the count out of a start's commit but the first one's.
func uncounted(name string, p []byte, off int64) []byte {
	b, _, err := record.Parse(p)
	if err != nil || off == 0 || !strings.Contains(name, "@catalog") {
		return p
	}
	fresh := record.NewBuilder(b.BaseOffset())
	fresh.LeaderEpoch = b.LeaderEpoch()
	for r, err := range b.Records(nil) {
		if err != nil || !bytes.Contains(r.Value, []byte(`"type":"Start"`)) {
			return p
		}
		other := []byte(`{"type":"ReserveProducerIDs","version":1,"count":1}`)
		fresh.Add(r.Timestamp, nil, append(other, bytes.Repeat([]byte{' '}, len(r.Value)-len(other))...))
	}
	if b, err = fresh.Build(); err != nil {
		return p
	}
	return b.Bytes()
}

// TestPlantedBugs has the workload of the crash tests run over file systems that do not do what the broker asks for,
// which is as if it had not asked. A crash test that does not notice is worth nothing.
func TestPlantedBugs(t *testing.T) {
	settings, err := crashSettings(1)
	if err != nil {
		t.Fatal(err)
	}
	all := func(string) bool { return true }
	inCatalog := func(name string) bool { return strings.Contains(name, "@catalog") }
	inOffsets := func(name string) bool { return strings.Contains(name, "__consumer_offsets") }
	inTransactions := func(name string) bool { return strings.Contains(name, "__transaction_state") }
	for name, bug := range map[string]*liar{
		"files are not synced":                              {syncs: all},
		"names are not synced":                              {names: all},
		"names of folders are not synced":                   {names: func(dir string) bool { return dir == dataDir }},
		"commits to the catalog are answered before a sync": {syncs: inCatalog, names: inCatalog},
		"commits of offsets are answered before a sync":     {syncs: inOffsets, names: inOffsets},
		"ends of transactions are answered before a sync":   {syncs: inTransactions, names: inTransactions},
		"checkpoints claim more than they know":             {writes: emptyState},
		"starts are not counted":                            {writes: uncounted},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				tr := &trial{seed: seed, flush: 1, settings: settings, every: 10, depth: 1, lie: bug}
				if err := tr.run(30); err != nil {
					first, _, _ := strings.Cut(err.Error(), "\n")
					t.Logf("seed %d: %s", seed, first)
					return
				}
			}
			t.Error("nobody has noticed")
		})
	}
}
