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
)

// Config is what a broker is made of.
type Config struct {
	Settings *config.Layers
	Log      zerolog.Logger
	// Version names the build, for the log.
	Version string
	// Started is when the process began; the log tells how long the start took from then.
	Started time.Time
}

const (
	// stopPatience is how long a stop waits for clients' answers, and then again for checkpoints.
	stopPatience = 10 * time.Second
	// decompressLimit bounds what one batch may unpack to where the broker has to look inside it.
	decompressLimit = 256 << 20
)

// Broker is a broker that has its directories and its ports.
type Broker struct {
	config   Config
	settings atomic.Pointer[config.Layers] // those at the start, with what the catalog has altered

	// What it is made of, lowest first. Shutdown takes it from the end.
	dirs       []*storage.Dir
	catalog    *local.Store
	partitions *partition.Manager
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
	b.settings.Store(c.Settings)
	b.life, b.end = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Shutdown(ctx))
		}
	}()
	c.Log.Info().Str("version", c.Version).Msg("starting")
	if err := b.openDirs(); err != nil {
		return nil, err
	}
	if err := b.openCatalog(ctx); err != nil {
		return nil, err
	}
	b.partitions = partition.NewManager(partition.Local(b.dirs...), partition.ManagerOptions{
		Codecs:   partition.NewCodecs(decompressLimit),
		Parallel: b.settings.Load().Broker().RecoveryThreads * len(b.dirs),
		Log:      c.Log,
	})
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
	b.topics = followTopics(b.catalog, b.partitions, b.settings.Load, b.config.Log)
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
	within := func(f func(context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, stopPatience)
		defer cancel()
		errs = append(errs, f(ctx))
	}
	if b.server != nil {
		within(b.server.Shutdown)
	}
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

// openDirs opens the log directories.
func (b *Broker) openDirs() error {
	s := b.settings.Load().Broker()
	for _, path := range s.LogDirs {
		d, err := storage.OpenDir(path, storage.Options{
			Log:             b.config.Log,
			CleanInterval:   s.RetentionCheckInterval,
			OpenFiles:       openFiles(),
			DecompressLimit: decompressLimit,
		})
		if err != nil {
			return err
		}
		b.dirs = append(b.dirs, d)
	}
	return nil
}

// catalogConfig is the log configuration of the catalog: everything synced, nothing deleted but behind a snapshot.
var catalogConfig = storage.Config{
	SegmentBytes: 16 << 20, SegmentAge: 1<<63 - 1, IndexBytes: 1 << 20, IndexInterval: 4096,
	FlushMessages: 1, FlushInterval: time.Second, RetentionBytes: -1, RetentionAge: -1, UseReserve: true,
}

// openCatalog opens the catalog in the first log directory and counts this start.
func (b *Broker) openCatalog(ctx context.Context) error {
	events := local.NewEvents()
	log, err := b.dirs[0].Open(ctx, storage.Identity{Topic: local.Topic, Partition: local.Partition}, catalogConfig, events, nil)
	if err != nil {
		return err
	}
	if b.catalog, err = local.Open(ctx, log, events, local.Options{}); err != nil {
		return errors.Join(err, log.Close())
	}
	if _, err := b.catalog.Commit(ctx, catalog.Any, catalog.Start{ClusterID: catalog.NewClusterID()}); err != nil {
		return fmt.Errorf("count this start: %w", err)
	}
	return nil
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
		View:     b.placement,
		Sessions: s.FetchSessions,
		MaxBytes: func() int { return int(b.settings.Load().Broker().FetchMaxBytes) },
	})
	apis := handler.APIs(handler.Deps{
		Log: b.config.Log, Broker: b.life, NodeID: s.NodeID, Config: b.settings.Load,
		Catalog: b.catalog, Placement: b.placement, Partition: b.partitions.Get, Fetch: b.fetch,
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
		MaxConnections:      maxConnections(s.MaxConnections),
		MaxConnectionsPerIP: s.MaxConnectionsPerIP,
		IdleTimeout:         s.IdleTimeout,
		MaxRequestBytes:     s.MaxRequestBytes,
		MemoryBudget:        s.QueuedRequestBytes,
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
