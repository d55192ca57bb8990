package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"

	"segue/storage/record"
	"segue/storage/vfs"
)

// Inspection reads a directory of logs as it lies on the disk, with no log open. It writes, repairs and makes nothing
// there. Its methods may be called by one goroutine at a time.
type Inspection struct {
	d *Dir
	// unsoundRun is what is wrong with the run file.
	unsoundRun error
}

// Inspect begins an inspection of a directory of logs. Of the options it takes FS, Log and DecompressLimit. It fails if
// there is no such directory, if a broker has it (vfs.ErrLocked), or if a newer broker has written it (ErrUnsupported).
func Inspect(path string, o Options) (*Inspection, error) {
	o.setDefaults()
	d := &Dir{
		path: path, fs: readOnly{o.FS}, log: zerolog.Nop(), logs: map[string]*Log{}, lock: io.NopCloser(nil),
		handles: newHandles(64), decompressor: record.NewDecompressor(o.DecompressLimit), reads: make(chan struct{}, maxReads),
	}
	d.walkers.New = func() any { return &walker{buf: make([]byte, walkerBlock)} }
	info, err := d.fs.Stat(path)
	if err == nil && !info.Dir {
		err = errors.New("it is not a directory")
	}
	if err != nil {
		return nil, fmt.Errorf("inspect %s: %w", path, err)
	}
	if o.FS == vfs.OS() { // other file systems have no other process
		lock, err := vfs.LockExisting(filepath.Join(path, lockFile))
		switch {
		case err == nil:
			d.lock = lock
		case errors.Is(err, vfs.ErrLocked):
			return nil, fmt.Errorf("log directory %s is in use; stop the broker first, or inspect a copy: %w", path, err)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("inspect %s: %w", path, err)
		}
	}
	in := &Inspection{d: d}
	last, err := readRun(d.fs, filepath.Join(path, runFile))
	if errors.Is(err, errUnsound) {
		in.unsoundRun, err = err, nil
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("inspect %s: %w", path, err), in.Close())
	}
	d.noteBoot(last)
	return in, nil
}

// Close ends the inspection and lets a broker have the directory.
func (in *Inspection) Close() error { return in.d.lock.Close() }

// Path is the directory's.
func (in *Inspection) Path() string { return in.d.path }

// List returns the logs that have a folder, as Dir.List does.
func (in *Inspection) List(ctx context.Context) ([]Identity, error) { return in.d.List(ctx) }

// Bytes returns how many bytes of batches the folder of a log has.
func (in *Inspection) Bytes(id Identity) (int64, error) { return in.d.Bytes(id) }

// Segments returns the data files of a log, in order.
func (in *Inspection) Segments(id Identity) (paths []string, err error) {
	folder := filepath.Join(in.d.path, id.Folder())
	entries, err := in.d.fs.ReadDir(folder)
	swaps := listSwaps(entries)
	for _, e := range entries {
		base, isData := parseSegmentName(e.Name)
		_, _, isSwap := parseSwap(e.Name)
		if _, replaced := swapAround(swaps, base); (isSwap || isData && !replaced) && !e.Dir {
			paths = append(paths, filepath.Join(folder, e.Name))
		}
	}
	return paths, err
}

// readOnly is a file system that cannot be written to.
type readOnly struct{ vfs.FS }

func (r readOnly) deny(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fs.ErrPermission}
}

func (r readOnly) OpenFile(name string) (vfs.File, error) { return r.FS.Open(name) }
func (r readOnly) Create(name string) (vfs.File, error)   { return nil, r.deny("create", name) }
func (r readOnly) Rename(from, _ string) error            { return r.deny("rename", from) }
func (r readOnly) Remove(name string) error               { return r.deny("remove", name) }
func (r readOnly) RemoveAll(name string) error            { return r.deny("remove", name) }
func (r readOnly) Mkdir(name string) error                { return r.deny("mkdir", name) }
func (r readOnly) MkdirAll(name string) error             { return r.deny("mkdir", name) }
func (r readOnly) SyncDir(name string) error              { return r.deny("sync", name) }
func (r readOnly) Lock(name string) (io.Closer, error)    { return nil, r.deny("lock", name) }
func (r readOnly) BulkSync(string) (vfs.Syncer, bool)     { return nil, false }

// Scanned is a stretch of a data file: a sound batch, or bytes that hold none.
type Scanned struct {
	Position int64
	Bytes    int64
	// Batch is the batch; it is valid until the next one is asked for. Its Header is nil where Err is not.
	Batch record.Batch
	// Low and High are the offsets of the batch, or those that cannot be read for the damage: Low to High-1, High being -1
	// where it is not known.
	Low, High record.Offset
	Err       error
}

// ScanFile reads a data file from its start, each batch checked against its checksum, and calls visit with all that it
// finds, in order, until visit returns an error, which ScanFile returns. Behind damage it goes on where the next sound
// batch is. ErrUnsupported refuses a file of message format 0 or 1.
func ScanFile(ctx context.Context, fsys vfs.FS, path string, visit func(Scanned) error) error {
	f, err := fsys.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	s := &Segment{path: strings.TrimSuffix(path, dataSuffix)}
	if base, ok := parseSegmentName(filepath.Base(path)); ok {
		s.base = base
	}
	c := &checker{s: s, f: f, size: size, settled: true, next: noNext, least: s.base, maxTime: noTimestamp, lastEpoch: -1}
	var stopped error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tell := func(found Scanned) {
		if stopped == nil {
			if stopped = visit(found); stopped != nil {
				cancel()
			}
		}
	}
	c.onBatch = func(b record.Batch, pos, _ int64) {
		tell(Scanned{Position: pos, Bytes: int64(b.Size()), Batch: b, Low: b.BaseOffset(), High: b.NextOffset()})
	}
	c.onSpan = func(d span) {
		if d.readable {
			return
		}
		found := Scanned{Position: d.from, Bytes: d.to - d.from, Low: d.low, High: d.high, Err: d.cause}
		if d.high <= d.low {
			found.High = -1
		}
		tell(found)
	}
	err = c.run(ctx)
	if stopped != nil {
		return stopped
	}
	return err
}
