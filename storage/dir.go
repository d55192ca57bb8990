package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"segue/storage/record"
	"segue/storage/vfs"
)

const (
	lockFile      = ".lock" // Kafka's name, so that neither opens what the other has open
	runFile       = "segue.run"
	reserveFolder = "segue.reserve"
	deletedSuffix = "-delete" // Kafka's
	straySuffix   = "-stray"  // Kafka's

	runVersion = 1
)

// Options are what a directory can be told. The zero value of each field stands for its default.
type Options struct {
	FS  vfs.FS         // the operating system's by default
	Log zerolog.Logger // nothing is logged by default

	// CleanInterval is the time between two rounds of the cleaner (log.retention.check.interval.ms); 5 minutes by
	// default.
	CleanInterval time.Duration
	// Compactors is how many logs are compacted side by side (log.cleaner.threads); negative for none at all, 1 by default.
	Compactors int
	// CompactBackoff is how long a compactor rests when no log is due (log.cleaner.backoff.ms); 15 seconds by default.
	CompactBackoff time.Duration
	// CompactMemory bounds the memory in which all compactors together remember keys (log.cleaner.dedupe.buffer.size); 128
	// MiB by default. It is taken as it is needed, and given back.
	CompactMemory int64
	// CompactBytesPerSecond bounds what all compactors together read and write (log.cleaner.io.max.bytes.per.second); no
	// limit by default.
	CompactBytesPerSecond float64
	// OpenFiles bounds the files and mappings that are open while nothing pins them; 4,096 by default.
	OpenFiles int
	// FlushWorkers bounds the syncs that run side by side; 8 by default.
	FlushWorkers int
	// BulkFlush is the number of waiting logs from which on one bulk sync takes them all, where the file system has
	// a bulk sync that can be trusted; 32 by default. Fewer are taken by one where that has lately been the quicker way.
	BulkFlush int
	// Reserve is the room in bytes that is kept back for deletes and checkpoints on a full disk; 4 MiB by default.
	Reserve int64
	// DecompressLimit bounds what one batch may unpack to where the log looks inside it; 256 MiB by default.
	DecompressLimit int
	// Decompressor is what the logs look inside batches with, to be shared with others that do; by default one of the
	// directory's own, made with DecompressLimit.
	Decompressor *record.Decompressor
}

func (o *Options) setDefaults() {
	or := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	if o.CleanInterval <= 0 {
		o.CleanInterval = 5 * time.Minute
	}
	switch {
	case o.Compactors < 0:
		o.Compactors = 0
	case o.Compactors == 0:
		o.Compactors = 1
	}
	if o.CompactBackoff <= 0 {
		o.CompactBackoff = 15 * time.Second
	}
	if o.CompactMemory <= 0 {
		o.CompactMemory = 128 << 20
	}
	if o.Reserve <= 0 {
		o.Reserve = 4 << 20
	}
	or(&o.OpenFiles, 4096)
	or(&o.FlushWorkers, 8)
	or(&o.BulkFlush, 32)
	or(&o.DecompressLimit, 256<<20)
	if o.Decompressor == nil {
		o.Decompressor = record.NewDecompressor(o.DecompressLimit)
	}
}

// Dir is a directory of logs: a lock that keeps a second broker out, the flusher and the cleaner of its logs, and
// the files that they share. It is safe for concurrent use.
type Dir struct {
	path         string
	fs           vfs.FS
	log          zerolog.Logger
	bootMark     uint32 // of this boot of the machine, as indexes note it; 0 where boots cannot be told apart
	unproven     bool   // the machine may be up since before: what is found here may never have come to the disk
	handles      *handles
	flusher      *flusher
	joint        *joint
	cleaner      *cleaner
	compactor    *compactor
	reserve      *reserve
	loads        singleflight.Group
	walkers      sync.Pool // of *walker, for their buffers
	decompressor *record.Decompressor
	reads        chan struct{} // holds one for each read of batch headers that is under way
	lookups      chan struct{} // holds one for each batch that is in memory to be looked into
	counters     counters
	lastError    atomic.Pointer[writeError] // nil for none yet
	lock         io.Closer

	mu      sync.Mutex
	logs    map[string]*Log // by folder; nil while one is being opened or deleted
	failed  map[string]bool // folders of logs that have failed in this run, or failed to open: what is found there may never have come to the disk
	names   uint64          // changes of folders' names in this run
	durable uint64          // how many of them are known to be durable
	closed  bool
	closing context.Context // ends when closed is set; recoveries end with it
	cancel  context.CancelFunc
	busy    sync.WaitGroup // of those who open or delete a log
	done    chan struct{}  // closed when the directory is free
}

// writeError is a write that has failed for another reason than want of room.
type writeError struct {
	at    time.Time
	cause error
}

// OpenDir opens a directory of logs, which is made if it is missing, and keeps it until Close. No log is opened yet.
// It fails if another process has the directory, or if it was written by a newer version.
func OpenDir(path string, o Options) (*Dir, error) {
	o.setDefaults()
	d := &Dir{
		path: path, log: o.Log.With().Str("dir", path).Logger(), logs: map[string]*Log{}, failed: map[string]bool{},
		handles: newHandles(o.OpenFiles), decompressor: o.Decompressor, reads: make(chan struct{}, maxReads),
		lookups: make(chan struct{}, min(runtime.GOMAXPROCS(0), runtime.NumCPU())), done: make(chan struct{}),
	}
	d.fs = &frugalFS{o.FS, d.handles}
	d.closing, d.cancel = context.WithCancel(context.Background())
	d.walkers.New = func() any { return &walker{buf: make([]byte, walkerBlock)} }
	if err := makeDurably(d.fs, path); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	lock, err := d.fs.Lock(filepath.Join(path, lockFile))
	if err != nil {
		return nil, fmt.Errorf("log directory %s is in use; end the other broker, or choose another log.dirs: %w", path, err)
	}
	d.lock = lock
	d.reserve, err = findReserve(d.fs, filepath.Join(path, reserveFolder), o.Reserve, d.log)
	if err == nil {
		err = d.begin()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open log directory %s: %w", path, err), lock.Close())
	}
	d.reserve.look()
	d.flusher = &flusher{dir: d, workers: o.FlushWorkers, bulkMin: o.BulkFlush}
	if bulk, ok := d.fs.BulkSync(path); ok {
		d.flusher.bulk = bulk
	}
	d.joint = newJoint(d.fs, path, o.BulkFlush)
	d.cleaner = startCleaner(d, o.CleanInterval)
	d.compactor = startCompactor(d, &o)
	if err := d.removeLeftovers(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// makeDurably makes a directory and those above it, down to names that survive a power cut.
func makeDurably(fsys vfs.FS, path string) error {
	parent := filepath.Dir(path)
	if _, err := fsys.Stat(path); err == nil {
		// Its name may be as new as the last run, which did not come to make it durable. A directory that is not ours
		// to read was made by somebody else, long ago.
		if err := fsys.SyncDir(parent); !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	}
	if parent != path {
		if err := makeDurably(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.MkdirAll(path); err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}

// removeLeftovers has the folders removed that were deleted in an earlier run.
func (d *Dir) removeLeftovers() error {
	entries, err := d.fs.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Dir && strings.HasSuffix(e.Name, deletedSuffix) {
			d.cleaner.remove(trash{paths: []string{filepath.Join(d.path, e.Name)}})
		}
	}
	return nil
}

var folderName = regexp.MustCompile(`^(.+)-([0-9]{1,10})$`)

// ParseFolder tells which log a folder is of, by its name: topic and partition. Others are not a log's.
func ParseFolder(name string) (id Identity, ok bool) {
	m := folderName.FindStringSubmatch(name)
	if m == nil {
		return Identity{}, false
	}
	partition, err := strconv.ParseInt(m[2], 10, 32)
	return Identity{Topic: m[1], Partition: int32(partition)}, err == nil // no partition has a larger number
}

// List returns the logs that have a folder. The topic id is zero where none is written down that can be read.
func (d *Dir) List(ctx context.Context) ([]Identity, error) {
	entries, err := d.fs.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var (
		ids   []Identity
		names []string // of their folders: 007 is a number too
	)
	for _, e := range entries {
		if id, ok := ParseFolder(e.Name); e.Dir && ok {
			ids, names = append(ids, id), append(names, e.Name)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(listers)
	for i := range ids {
		group.Go(func() (err error) {
			if ids[i].TopicID, _, err = readMetadata(d.fs, filepath.Join(d.path, names[i])); err != nil {
				// It is for whoever opens or deletes this log to fail; the others are none the worse.
				d.log.Error().Err(err).Str("folder", names[i]).Msg("the topic id of a log cannot be read")
			}
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return ids, nil
}

// listers is how many folders are read side by side for their topic ids.
const listers = 8

// Logs returns the logs that are open, in no order.
func (d *Dir) Logs() []*Log { return d.open() }

// Space returns how many bytes the disk has that the directory lies on, and how many of them are free; -1 where the
// system does not tell. An error says that the directory cannot be reached.
func (d *Dir) Space() (total, free int64, err error) {
	if total, err = d.fs.Total(d.path); err == nil {
		free, err = d.fs.Free(d.path)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return -1, -1, nil
	}
	return total, free, err
}

// Path is the directory's.
func (d *Dir) Path() string { return d.path }

// Bytes returns how many bytes of batches the folder of a log has, whether it is open or not.
func (d *Dir) Bytes(id Identity) (n int64, err error) {
	entries, err := d.fs.ReadDir(filepath.Join(d.path, id.Folder()))
	for _, e := range entries {
		_, isData := parseSegmentName(e.Name)
		_, _, isSwap := parseSwap(e.Name)
		if (isData || isSwap) && !e.Dir {
			n += e.Size
		}
	}
	return n, err
}

// Open opens a log and recovers it from whatever happened to it; a log without a folder is empty. Everything that it
// holds is committed and synced when Open returns. A log is open once at a time. A folder of that name with another
// topic id is not touched but for its name, which it loses to this log.
func (d *Dir) Open(ctx context.Context, id Identity, c Config, e Events, k Keeper) (*Log, error) {
	folder := id.Folder()
	if err := d.claim(folder); err != nil {
		return nil, err
	}
	defer d.busy.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(d.closing, cancel)()
	defer cancel()
	l := newLog(d, id, c, e, k)
	found, err := recoverLog(ctx, l)
	if err == nil {
		l.adopt(found)
	}
	d.mu.Lock()
	closed := d.closed
	if err == nil {
		d.logs[folder] = l
	} else {
		delete(d.logs, folder)
		d.failed[folder] = true // it may have been by a sync
	}
	d.mu.Unlock()
	switch {
	case !closed && err == nil:
		return l, nil
	case !closed:
		return nil, err
	case err == nil:
		err = l.Close()
	}
	return nil, errors.Join(fmt.Errorf("open %s: directory %s: %w", id, d.path, ErrClosed), err)
}

// claim takes a folder that no log is open in, and keeps the directory from being free until busy.Done.
func (d *Dir) claim(folder string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("directory %s: %w", d.path, ErrClosed)
	}
	if _, taken := d.logs[folder]; taken {
		return fmt.Errorf("log %s is open already", folder)
	}
	d.logs[folder] = nil
	d.busy.Add(1)
	return nil
}

func (d *Dir) forget(l *Log) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if folder := l.id.Folder(); d.logs[folder] == l {
		delete(d.logs, folder)
		if l.failure != nil { // which is final once the log is closed
			d.failed[folder] = true
		}
	}
}

// doubts says whether what is found in a folder may never have come to the disk, because a sync has failed since the
// machine was started, or may have.
func (d *Dir) doubts(folder string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unproven || d.failed[folder]
}

// open returns the logs that are open.
func (d *Dir) open() []*Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	logs := make([]*Log, 0, len(d.logs))
	for _, l := range d.logs {
		if l != nil {
			logs = append(logs, l)
		}
	}
	return logs
}

// Clean runs a round of the cleaner now: retention for every open log.
func (d *Dir) Clean(ctx context.Context) error { return d.cleaner.round(ctx) }

// Gather has the syncs that appends to any of the logs ask for begin when sync is called, which has to be soon: they take
// more logs at a time than if each began at once. It is for who appends to several. A sync that somebody else's call
// begins may take these appends along.
func (d *Dir) Gather() (sync func()) { return d.flusher.gather() }

// GatherAll returns what does Gather in several directories at once.
func GatherAll(dirs []*Dir) func() (sync func()) {
	if len(dirs) == 1 {
		return dirs[0].Gather
	}
	return func() func() {
		syncs := make([]func(), 0, len(dirs))
		for _, d := range dirs {
			syncs = append(syncs, d.Gather())
		}
		return func() {
			for _, sync := range syncs {
				sync()
			}
		}
	}
}

// Close closes every log that is open, waits for what others are doing in the directory, and gives it free for another
// broker. It returns what went wrong, having closed everything nevertheless. Of two callers the second one waits for
// the first and is told nothing.
func (d *Dir) Close() error {
	d.mu.Lock()
	first := !d.closed
	d.closed = true
	d.mu.Unlock()
	if !first {
		<-d.done
		return nil
	}
	defer close(d.done)
	d.cancel()
	d.busy.Wait()
	err := d.closeLogs()
	d.compactor.close()
	d.cleaner.close()
	return errors.Join(err, d.flusher.close(), d.joint.close(), d.lock.Close())
}

// closeLogs closes all logs, side by side: each has a few files to sync, which cost little more together than one.
func (d *Dir) closeLogs() error {
	logs := d.open()
	errs := make([]error, len(logs))
	var group errgroup.Group
	group.SetLimit(closers)
	for i, l := range logs {
		group.Go(func() error {
			errs[i] = l.Close()
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return errors.Join(errs...)
}

// closers is how many logs are closed side by side.
const closers = 32
