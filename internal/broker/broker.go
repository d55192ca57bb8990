// Package broker puts a Segue broker together: it opens what lies lowest first, wires each part to those below it, and
// takes everything down in the reverse order. It holds no logic of its own.
//
// Run is all that a command needs. New, Start and Shutdown are its steps, for tests that run a broker in their own
// process.
package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"segue/internal/catalog"
	"segue/internal/catalog/local"
	"segue/internal/config"
	"segue/internal/console"
	"segue/internal/handler"
	"segue/internal/handler/fetch"
	"segue/internal/placement"
	"segue/internal/server"
	"segue/partition"
	"segue/storage"
	"segue/storage/record"
	"segue/storage/vfs"
)

// Config is what a broker is made of.
type Config struct {
	Settings *config.Layers
	Log      zerolog.Logger
	// Version names the build, for the log.
	Version string
	// Started is when the process began; the log tells how long the start took from then.
	Started time.Time
	// FS is the file system that the log directories lie on; nil is the operating system's. Tests bring one that
	// fails, or forgets.
	FS vfs.FS
	// Tuning is for tests too.
	Tuning Tuning
}

// Tuning holds sizes that no setting names. Zero stands for what is right for a broker that serves; tests make them
// small, so that what comes seldom comes soon.
type Tuning struct {
	SnapshotAfter       int   // changes of the catalog between two snapshots of it, see local.Options
	CatalogSegmentBytes int64 // size at which a segment of the catalog's log is sealed; 16 MiB
	ReserveBytes        int64 // room kept back on each log directory's disk, see storage.Options
}

// stopPatience is how long a stop waits for clients' answers, and then again for checkpoints.
const stopPatience = 10 * time.Second

// Broker is a broker that has its directories and its ports.
type Broker struct {
	config   Config
	settings currentSettings
	memory   memory
	limits   limits
	refused  atomic.Int64 // topics that would have been too many partitions

	// What it is made of, lowest first. Shutdown takes it from the end.
	unpacker   *record.Decompressor
	dirs       []*storage.Dir
	catalog    *local.Store
	partitions *partition.Manager
	groups     *groups
	txns       *transactions
	topics     *topics
	placement  *placement.Single
	fetch      *fetch.Handler
	server     *server.Server
	console    *console.Console

	life    context.Context // ends when nothing may be appended any more
	end     context.CancelFunc
	serving sync.WaitGroup
	failed  chan error // what ended serving, if it was not Shutdown
	ready   atomic.Bool
}

// Run runs a broker until ctx ends, and then stops it within bounds. It returns nil if the stop was clean.
func Run(ctx context.Context, c Config) error {
	b, err := New(ctx, c)
	if err != nil {
		return err
	}
	if b.limits.runtime > 0 {
		debug.SetMemoryLimit(b.limits.runtime)
	}
	b.Start()
	select {
	case <-ctx.Done():
		c.Log.Info().Msg("stopping")
	case err = <-b.failed:
	}
	begun := time.Now()
	err = errors.Join(err, b.Shutdown(context.Background()))
	if err == nil {
		c.Log.Info().Dur("took", time.Since(begun)).Msg("stopped")
	}
	return err
}

// New opens the directories and the catalog, counts this start, and takes the ports. What it has opened it closes again
// if it fails.
func New(ctx context.Context, c Config) (_ *Broker, err error) {
	b := &Broker{config: c, failed: make(chan error, 2)}
	b.settings.begin(c.Settings)
	b.life, b.end = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Shutdown(ctx))
		}
	}()
	c.Log.Info().Str("version", c.Version).Msg("starting")
	b.findLimits()
	if err := b.openDirs(); err != nil {
		return nil, err
	}
	if err := b.openCatalog(ctx); err != nil {
		return nil, err
	}
	b.settings.follow(&catalog.Image{}, b.catalog.Image())
	b.partitions = partition.NewManager(partition.Local(b.dirs...), partition.ManagerOptions{
		Codecs:   partition.CodecsWith(b.unpacker),
		Parallel: b.settings.Load().Broker().RecoveryThreads * len(b.dirs),
		Log:      c.Log,
	})
	b.groups = newGroups(b.settings.Load, b.catalog, b.partitions, c.Log)
	b.txns = newTransactions(b.settings.Load, b.catalog, b.partitions, b.groups, storage.GatherAll(b.dirs), c.Log)
	if err := b.listen(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// Start recovers the partitions and begins to serve clients. The pages for health and metrics are there before.
func (b *Broker) Start() {
	if b.console != nil {
		b.serving.Go(func() { b.ended(b.console.Serve()) })
	}
	b.topics = followTopics(b.catalog, b.partitions, b.groups, b.txns, &b.settings, b.config.Log)
	b.serving.Go(func() { b.ended(b.server.Serve(b.life)) })
	b.ready.Store(true)
	b.report()
}

func (b *Broker) ended(err error) {
	if err != nil {
		b.failed <- err
	}
}

// Shutdown stops serving, saves checkpoints and closes everything. It is bounded: clients that do not take their
// answers, and checkpoints that a slow disk does not take, are given up.
func (b *Broker) Shutdown(ctx context.Context) error {
	b.ready.Store(false)
	var errs []error
	patiently := func(f func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, stopPatience)
		defer cancel()
		return f(ctx)
	}
	within := func(f func(context.Context) error) { errs = append(errs, patiently(f)) }
	// Side by side: members of groups who wait for others would have the server wait for them.
	var waiting sync.WaitGroup
	var groupsErr, txnsErr error
	if b.groups != nil {
		waiting.Go(func() { groupsErr = patiently(b.groups.close) })
	}
	if b.txns != nil {
		waiting.Go(func() { txnsErr = patiently(b.txns.coordinator.Close) })
	}
	if b.server != nil {
		within(b.server.Shutdown)
	}
	waiting.Wait()
	errs = append(errs, groupsErr, txnsErr)
	if b.topics != nil {
		b.topics.close()
	}
	b.end()
	if b.partitions != nil {
		within(b.partitions.Close)
	}
	if b.catalog != nil {
		errs = append(errs, b.catalog.Close())
	}
	for _, d := range b.dirs {
		errs = append(errs, d.Close())
	}
	if b.console != nil {
		within(b.console.Shutdown)
	}
	b.serving.Wait()
	return errors.Join(errs...)
}

// findLimits finds out what the broker may take on, and tells.
func (b *Broker) findLimits() {
	s := b.settings.Load().Broker()
	b.memory = findMemory(os.DirFS("/"), debug.SetMemoryLimit(-1), addressSpace())
	b.limits = limitsFor(b.memory, descriptors(), min(runtime.GOMAXPROCS(0), runtime.NumCPU()), wishes{
		connections: s.MaxConnections, partitions: s.MaxPartitions, requestBytes: s.QueuedRequestBytes,
	})
	b.unpacker = record.NewDecompressorWithTurns(b.limits.unpackBytes, b.limits.unpackTurns)
	b.config.Log.Info().Int64("memory", b.memory.bytes).Str("memory_from", b.memory.from).Bool("hard", b.memory.hard).
		Int64("runtime_bytes", b.limits.runtime).Int("descriptors", descriptors()).
		Int("connections", b.limits.connections).Int("partitions", b.limits.partitions).
		Int64("request_bytes", b.limits.requestBytes).Int64("answer_bytes", b.limits.answerBytes).
		Int("session_partitions", b.limits.sessionParts).Int("unpacked_batch_bytes", b.limits.unpackBytes).
		Int("open_files", b.limits.openFiles).Msg("limits")
}

// openDirs opens the log directories.
func (b *Broker) openDirs() error {
	s := b.settings.Load().Broker()
	options := storage.Options{
		FS:            b.config.FS,
		Log:           b.config.Log,
		Reserve:       b.config.Tuning.ReserveBytes,
		CleanInterval: s.RetentionCheckInterval,
		OpenFiles:     b.limits.openFiles,
		Decompressor:  b.unpacker,
	}
	compaction(&options, s, b.limits.keyBytes)
	for _, path := range s.LogDirs {
		d, err := storage.OpenDir(path, options)
		if err != nil {
			return err
		}
		b.dirs = append(b.dirs, d)
	}
	return nil
}

// compaction sets what each log directory is told about compaction: its share of what all of them may take.
func compaction(o *storage.Options, s config.BrokerSettings, memory int64) {
	dirs := len(s.LogDirs)
	if o.Compactors = (s.CleanerThreads + dirs - 1) / dirs; !s.CleanerEnabled || s.CleanerThreads <= 0 {
		o.Compactors = -1
	}
	o.CompactBackoff = max(s.CleanerBackoff, minCleanerBackoff)
	o.CompactMemory = max(1, min(s.CleanerMemory, memory)/int64(dirs))
	o.CompactBytesPerSecond = s.CleanerBytesPerSecond / float64(dirs)
}

// minCleanerBackoff keeps a cleaner that has nothing to do from looking for it all the time.
const minCleanerBackoff = 10 * time.Millisecond

// catalogConfig is the log configuration of the catalog: everything synced, nothing deleted but behind a snapshot.
func catalogConfig(t Tuning) storage.Config {
	segment := t.CatalogSegmentBytes
	if segment <= 0 {
		segment = 16 << 20
	}
	return storage.Config{
		SegmentBytes: segment, SegmentAge: 1<<63 - 1, IndexBytes: max(segment/16, 1<<10), IndexInterval: 4096,
		FlushMessages: 1, FlushInterval: time.Second, RetentionBytes: -1, RetentionAge: -1, UseReserve: true,
	}
}

// openCatalog opens the catalog in the first log directory and counts this start. It refuses a catalog that cannot be read
// to its end, and one that does not know what is in the directories.
func (b *Broker) openCatalog(ctx context.Context) error {
	events := local.NewEvents()
	log, err := b.dirs[0].Open(ctx, catalogID(), catalogConfig(b.config.Tuning), events, nil)
	if err != nil {
		return catalogUnreadable(ctx, err)
	}
	if b.catalog, err = local.Open(ctx, log, events, local.Options{SnapshotAfter: b.config.Tuning.SnapshotAfter}); err != nil {
		return errors.Join(catalogUnreadable(ctx, err), log.Close())
	}
	folders, err := listFolders(ctx, b.dirs)
	if err != nil {
		return err
	}
	if err := checkFolders(folders, b.dirs[0], b.catalog.Image()); err != nil {
		return err
	}
	brought, err := surpassBrought(ctx, folders, b.config.Log)
	if err != nil {
		return err
	}
	changes := append(brought, catalog.Start{ClusterID: catalog.NewClusterID()})
	if _, err = b.catalog.Commit(ctx, catalog.Any, changes...); err != nil {
		return fmt.Errorf("count this start: %w", err)
	}
	return nil
}

// catalogUnreadable says what to do about a catalog that cannot be read.
func catalogUnreadable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("the catalog cannot be read, and to start without it would be to lose topics: %w. Nothing was removed; "+
		"`broker log verify` tells of all that is damaged. Put the folder back from a copy", err)
}

// listen makes the server and the console and takes their ports. Nobody is served yet.
func (b *Broker) listen(ctx context.Context) error {
	settings := b.settings.Load()
	s := settings.Broker()
	image := b.catalog.Image()
	self := placement.Broker{NodeID: s.NodeID}
	if s.Rack != "" {
		self.Rack = &s.Rack
	}
	b.placement = placement.NewSingle(image.ClusterID(), image.StartCount(), self)
	b.fetch = fetch.New(fetch.Config{
		Log:    b.config.Log,
		Topics: func() fetch.Topics { return b.catalog.Image() },
		Lookup: func(id [16]byte, n int32) (fetch.Partition, error) {
			p, err := b.partitions.Get(id, n)
			if err != nil {
				return nil, err
			}
			return p, nil
		},
		View:       b.placement,
		Sessions:   s.FetchSessions,
		Partitions: b.limits.sessionParts,
		MaxBytes:   func() int { return int(b.settings.Load().Broker().FetchMaxBytes) },
	})
	apis := handler.APIs(handler.Deps{
		Log: b.config.Log, Broker: b.life, NodeID: s.NodeID, Config: b.settings.Load,
		Catalog: b.catalog, Placement: b.placement, Partition: b.partitions.Get, Fetch: b.fetch,
		Groups: b.groups.coordinator, Dirs: b.dirs,
		Transactions: b.txns.coordinator, ProducerIDs: b.txns.ids, Markers: b.txns.markers,
		MaxPartitions: b.limits.partitions, Refused: &b.refused,
	})
	var listeners []server.Listener
	for _, l := range settings.Listeners().Bound {
		if l.Protocol != config.Plaintext {
			return fmt.Errorf("listener %s speaks %s, which this version cannot; use PLAINTEXT", l, l.Protocol)
		}
		listeners = append(listeners, server.Listener{Name: l.Name, Addr: l.Address()})
	}
	var err error
	b.server, err = server.New(server.Config{
		Listeners:           listeners,
		MaxConnections:      b.limits.connections,
		MaxConnectionsPerIP: s.MaxConnectionsPerIP,
		IdleTimeout:         s.IdleTimeout,
		MaxRequestBytes:     s.MaxRequestBytes,
		MemoryBudget:        b.limits.requestBytes,
		AnswerBudget:        b.limits.answerBytes,
	}, apis, b.config.Log)
	if err != nil {
		return err
	}
	if err := b.server.Listen(ctx); err != nil {
		return err
	}
	b.placement.Advertise(advertised(settings.Listeners(), b.server.Addrs()))
	return b.listenConsole(s.HTTPListener)
}

func (b *Broker) listenConsole(addr string) error {
	if addr == "" {
		return nil
	}
	c, err := console.New(console.Config{
		Addr:  addr,
		Ready: b.notReady,
		Trouble: func() (lines []string) {
			for _, d := range b.dirs {
				lines = append(lines, d.Trouble()...)
			}
			return lines
		},
		Sources: console.Sources{
			Server:  b.server.Stats,
			Dirs:    b.dirStats,
			Manager: b.partitions.Stats,
			Each:    b.partitions.Each,
			Sessions: func() console.SessionStats {
				f := b.fetch.Stats()
				return console.SessionStats{Sessions: f.Sessions, Partitions: f.SessionPartitions, Evictions: f.Evictions}
			},
			Groups:       func() console.GroupStats { return b.groups.stats(b.settings.Load().Broker().Groups.LagSeries) },
			Transactions: b.txns.stats,
			Limits: func() console.LimitStats {
				return console.LimitStats{
					Memory: b.memory.bytes, Connections: b.limits.connections, Partitions: b.limits.partitions,
					TopicsRefused: b.refused.Load(),
				}
			},
		},
		Log: b.config.Log,
	})
	if err != nil {
		return err
	}
	if err := c.Listen(); err != nil {
		return err
	}
	b.console = c
	return nil
}

var errStarting = errors.New("the broker is starting, or stopping")

// notReady says why clients had better not come, nil if they may.
func (b *Broker) notReady() error {
	if !b.ready.Load() {
		return errStarting
	}
	return nil
}

func (b *Broker) dirStats() []storage.Stats {
	stats := make([]storage.Stats, 0, len(b.dirs))
	for _, d := range b.dirs {
		stats = append(stats, d.Stats())
	}
	return stats
}

// Addr returns the address that a listener listens on; nil if there is none of that name.
func (b *Broker) Addr(listener string) net.Addr { return b.server.Addrs()[listener] }

// HTTPAddr returns the address of health and metrics; nil if they are not served.
func (b *Broker) HTTPAddr() net.Addr {
	if b.console == nil {
		return nil
	}
	return b.console.Addr()
}
