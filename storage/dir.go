package storage

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
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
	reserveFile   = "segue.reserve"
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
	// OpenFiles bounds the files and mappings that are open while nothing pins them; 4,096 by default.
	OpenFiles int
	// FlushWorkers bounds the syncs that run side by side; 8 by default.
	FlushWorkers int
	// BulkFlush is the number of waiting logs from which on one bulk sync takes them all, where the file system has
	// a bulk sync that can be trusted; 32 by default.
	BulkFlush int
	// Reserve is the room in bytes that is kept back for deletes and checkpoints on a full disk; 4 MiB by default.
	Reserve int64
	// DecompressLimit bounds what one batch may unpack to where the log looks inside it; 256 MiB by default.
	DecompressLimit int
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
	if o.Reserve <= 0 {
		o.Reserve = 4 << 20
	}
	or(&o.OpenFiles, 4096)
	or(&o.FlushWorkers, 8)
	or(&o.BulkFlush, 32)
	or(&o.DecompressLimit, 256<<20)
}

// Dir is a directory of logs: a lock that keeps a second broker out, the flusher and the cleaner of its logs, and
// the files that they share. It is safe for concurrent use.
type Dir struct {
	path         string
	fs           vfs.FS
	log          zerolog.Logger
	bootMark     uint32 // of this boot of the machine, as indexes note it; 0 where boots cannot be told apart
	sameBoot     bool   // the machine has not been restarted since the directory was last in use
	handles      *handles
	flusher      *flusher
	cleaner      *cleaner
	reserve      *reserve
	loads        singleflight.Group
	walkers      sync.Pool // of *walker, for their buffers
	decompressor *record.Decompressor
	counters     counters
	lock         io.Closer

	mu   sync.Mutex
	logs map[string]*Log // by folder; nil while one is being opened or deleted
	// doubtful are the folders of logs that have failed in this run, to be synced or to be opened, and not been opened
	// since: what is in their files may look clean and be on no disk.
	doubtful map[string]bool
	closed   bool
	closing  context.Context // ends when closed is set; recoveries end with it
	cancel   context.CancelFunc
	busy     sync.WaitGroup // of those who open or delete a log
	done     chan struct{}  // closed when the directory is free
}

// run is what the run file says about the last time the directory was in use.
type run struct {
	Version int    `json:"version"`
	BootID  string `json:"boot_id"`
}

// OpenDir opens a directory of logs, which is made if it is missing, and keeps it until Close. No log is opened yet.
// It fails if another process has the directory, or if it was written by a newer version.
func OpenDir(path string, o Options) (*Dir, error) {
	o.setDefaults()
	d := &Dir{
		path: path, fs: o.FS, log: o.Log.With().Str("dir", path).Logger(), logs: map[string]*Log{},
		doubtful: map[string]bool{},
		handles:  newHandles(o.OpenFiles), decompressor: record.NewDecompressor(o.DecompressLimit),
		done: make(chan struct{}),
	}
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
	if err := d.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("open log directory %s: %w", path, err), lock.Close())
	}
	d.reserve = newReserve(d.fs, filepath.Join(path, reserveFile), o.Reserve, d.log)
	d.flusher = &flusher{dir: d, workers: o.FlushWorkers, bulkMin: o.BulkFlush}
	if bulk, ok := d.fs.BulkSync(path); ok {
		d.flusher.bulk = bulk
	}
	d.cleaner = startCleaner(d, o.CleanInterval)
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

// begin reads the run file and writes that of this run.
func (d *Dir) begin() error {
	path := filepath.Join(d.path, runFile)
	var last run
	b, err := readFile(d.fs, path, 1<<20)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		// A run file that cannot be read says nothing about the last run, which is the careful assumption.
		if json.Unmarshal(b, &last) == nil && last.Version > runVersion {
			return fmt.Errorf("%s: %w: version %d, this broker knows %d; use the newer broker", path, ErrUnsupported, last.Version, runVersion)
		}
	}
	boot := d.fs.BootID()
	d.sameBoot = boot != "" && last.BootID == boot
	if boot != "" {
		d.bootMark = max(1, crc32.Checksum([]byte(boot), castagnoli))
	}
	b, err = json.Marshal(run{Version: runVersion, BootID: boot})
	if err != nil {
		return err
	}
	if d.sameBoot {
		return nil // the file says so already, and a full disk need not take another
	}
	if err := writeFile(d.fs, path, append(b, '\n')); err != nil {
		return err
	}
	return d.fs.SyncDir(d.path)
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

// List returns the logs that have a folder. The topic id is zero where none is written down that can be read.
func (d *Dir) List(ctx context.Context) ([]Identity, error) {
	entries, err := d.fs.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var ids []Identity
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m := folderName.FindStringSubmatch(e.Name)
		if !e.Dir || m == nil {
			continue
		}
		partition, err := strconv.ParseInt(m[2], 10, 32)
		if err != nil {
			continue // no partition has that number
		}
		id := Identity{Topic: m[1], Partition: int32(partition)}
		if id.TopicID, _, err = readMetadata(d.fs, filepath.Join(d.path, e.Name)); err != nil {
			// It is for whoever opens or deletes this log to fail; the others are none the worse.
			d.log.Error().Err(err).Str("folder", e.Name).Msg("the topic id of a log cannot be read")
		}
		ids = append(ids, id)
	}
	return ids, nil
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
		delete(d.doubtful, folder)
	} else {
		delete(d.logs, folder)
		d.doubtful[folder] = true
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
	failed := l.hasFailed()
	d.mu.Lock()
	defer d.mu.Unlock()
	if folder := l.id.Folder(); d.logs[folder] == l {
		delete(d.logs, folder)
		if failed {
			d.doubtful[folder] = true
		}
	}
}

// inDoubt says whether what is in a log's files may look clean and be on no disk, because a sync has failed since the
// machine was started.
func (d *Dir) inDoubt(folder string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sameBoot || d.doubtful[folder]
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

// Delete closes a log if it is open and takes its folder's name away, durably; what is in it is removed in the
// background. A folder of that name with another topic id stays. It is no error if there is none.
func (d *Dir) Delete(ctx context.Context, id Identity) error {
	d.mu.Lock()
	l := d.logs[id.Folder()]
	d.mu.Unlock()
	if l != nil && l.id == id {
		l.abandon()
	}
	if err := d.claim(id.Folder()); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	defer d.busy.Done()
	defer func() {
		d.mu.Lock()
		delete(d.logs, id.Folder())
		d.mu.Unlock()
	}()
	folder := filepath.Join(d.path, id.Folder())
	known, ok, err := readMetadata(d.fs, folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", id, err)
	}
	if ok && known != id.TopicID {
		return nil
	}
	gone := d.unusedName(id.Folder(), id.TopicID, deletedSuffix)
	err = d.fs.Rename(folder, gone)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // there was no folder at all
	}
	if err == nil {
		err = d.fs.SyncDir(d.path)
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", id, err)
	}
	d.cleaner.remove(trash{paths: []string{gone}})
	return nil
}

// setAside gives a folder that belongs to another topic id a name that no log has.
func (d *Dir) setAside(folder string, id [16]byte) error {
	stray := d.unusedName(folder, id, straySuffix)
	d.log.Warn().Str("folder", folder).Str("now", stray).
		Msg("folder belongs to another topic of that name; it is set aside and may be removed by hand")
	if err := d.fs.Rename(filepath.Join(d.path, folder), stray); err != nil {
		return err
	}
	return d.fs.SyncDir(d.path)
}

// maxFileName is the longest name of a file or folder that common file systems take, in bytes.
const maxFileName = 255

// unusedName returns a path that nothing has, for a folder that loses its name. The longest topic names are cut for it,
// as Kafka cuts them.
func (d *Dir) unusedName(folder string, id [16]byte, suffix string) string {
	suffix = "." + hex.EncodeToString(id[:]) + suffix
	for n := 1; ; n++ {
		number := ""
		if n > 1 {
			number = fmt.Sprintf(".%d", n)
		}
		name := folder[:min(len(folder), maxFileName-len(number)-len(suffix))] + number + suffix
		if path := filepath.Join(d.path, name); d.unused(path) {
			return path
		}
	}
}

func (d *Dir) unused(path string) bool {
	_, err := d.fs.Stat(path)
	return err != nil
}

// Clean runs a round of the cleaner now: retention for every open log.
func (d *Dir) Clean(ctx context.Context) error { return d.cleaner.round(ctx) }

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
	d.cleaner.close()
	return errors.Join(err, d.flusher.close(), d.lock.Close())
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
