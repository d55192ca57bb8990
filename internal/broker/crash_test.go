package broker

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"segue/internal/catalog"
	"segue/internal/config"
	"segue/storage/vfs"
)

// long says whether tests that can go on for any time are to do so (SEGUE_LONG=1).
func long() bool { return os.Getenv("SEGUE_LONG") == "1" }

// firstSeed is what the random choices of a test begin with: 1, or what SEGUE_SEED says. How the broker's goroutines
// take turns is not among them, so that a seed that has failed may have to be tried a few times.
func firstSeed(t *testing.T) uint64 {
	text, ok := os.LookupEnv("SEGUE_SEED")
	if !ok {
		return 1
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal("SEGUE_SEED: ", err)
	}
	return seed
}

// trial is a workload whose disk crashes again and again: at each operation, or at some, a copy of the disk is taken
// as the crash would leave it, and another broker is started on that.
type trial struct {
	seed     uint64
	flush    int
	settings *config.Layers
	values   numbers
	every    int   // one of so many operations on the disk is a crash point
	depth    int   // how often in a row brokers crash
	lie      *liar // a bug that is planted
	faulty   bool  // operations on the disk have failed
	stations stations

	points, lives atomic.Int64
}

// point is a disk after a crash, and what clients were told until then.
type point struct {
	name   string
	disk   *vfs.Crashable
	ledger *ledger
	weak   bool
	seed   uint64
}

// crasher takes the copies of one life's disk.
type crasher struct {
	trial *trial
	disk  *vfs.Crashable
	every int
	// forgotten gets a token when the catalog has forgotten a deleted topic.
	forgotten chan struct{}

	mu     sync.Mutex // guards all below
	rand   *rand.Rand
	ledger *ledger
	points []point
	seen   sightings
	name   string
	// recovering says that the ledger has not been audited since a crash, and weak that this was a power cut which may
	// have taken some of what clients were told.
	recovering, weak bool
}

// changes says whether an operation can change what a crash leaves.
func changes(k vfs.Kind) bool {
	switch k {
	case vfs.OpCreate, vfs.OpRename, vfs.OpRemove, vfs.OpRemoveAll, vfs.OpMkdir, vfs.OpMkdirAll, vfs.OpSyncDir, vfs.OpLock,
		vfs.OpBulkSync, vfs.OpWrite, vfs.OpTruncate, vfs.OpAllocate, vfs.OpSyncFile, vfs.OpSyncMapping, vfs.OpUnmap:
		return true
	}
	return false
}

// before is called before each operation on the disk.
func (c *crasher) before(op vfs.Op) error {
	if !changes(op.Kind) {
		return nil
	}
	if op.Kind == vfs.OpRemoveAll {
		c.wait()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	here := c.seen.at(op)
	if c.recovering {
		here = append(here, recovering)
	}
	if c.every == 0 || c.rand.IntN(c.every) > 0 && !c.trial.stations.first(here) {
		return nil
	}
	c.trial.stations.hit(here)
	c.crash(op.String())
	return nil
}

// wait holds the removal of a deleted folder up, now and then, until the catalog has forgotten a topic: left to
// themselves the removal is nearly always first.
func (c *crasher) wait() {
	c.mu.Lock()
	now := c.recovering || c.rand.IntN(2) == 0
	c.mu.Unlock()
	if now {
		return
	}
	select {
	case <-c.forgotten:
	case <-time.After(20 * time.Millisecond): // it has before, or the broker is stopping
	}
}

// follow is told of the catalog's images.
func (c *crasher) follow(prev, next *catalog.Image) {
	if len(next.Deleting()) < len(prev.Deleting()) {
		select {
		case c.forgotten <- struct{}{}:
		default:
		}
	}
}

// crash takes a copy as a kill of the process leaves the disk, and one as a power cut does. The caller holds mu.
func (c *crasher) crash(at string) {
	c.trial.points.Add(1)
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	name := fmt.Sprintf("%s%d: %s", c.name, c.trial.points.Load(), at)
	c.points = append(c.points,
		point{name + ": kill", c.disk.Kill(), c.ledger.copy(), c.weak, c.rand.Uint64()},
		point{name + ": power cut", c.disk.Crash(c.rand), c.ledger.copy(), c.weak || c.trial.flush > 1, c.rand.Uint64()})
}

// audited says that the ledger holds again.
func (c *crasher) audited() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recovering, c.weak = false, false
}

// take returns the crashes since it was last called.
func (c *crasher) take() []point {
	c.mu.Lock()
	defer c.mu.Unlock()
	points := c.points
	c.points = nil
	return points
}

// life makes a life on a disk, and what crashes it.
func (tr *trial) life(name string, disk *vfs.Crashable, told *ledger, seed uint64, every int) (*life, *crasher) {
	c := &crasher{
		trial: tr, disk: disk, every: every, rand: rand.New(rand.NewPCG(seed, 1)), ledger: told, name: name,
		forgotten: make(chan struct{}, 1),
	}
	fs := vfs.Inject(disk, c.before)
	if tr.lie != nil {
		lying := *tr.lie
		lying.FS = fs
		fs = &lying
	}
	return &life{
		settings: tr.settings, disk: disk, fs: fs, ledger: told,
		rand: rand.New(rand.NewPCG(seed, 2)), values: &tr.values, follow: c.follow,
	}, c
}

// run works with a broker for so many steps and has every crash on the way survived.
func (tr *trial) run(steps int) error {
	disk := vfs.NewCrashable()
	disk.SetBulkSync(tr.seed%2 == 0)
	l, c := tr.life("", disk, newLedger(), tr.seed, tr.every)
	err := l.start()
	if err == nil {
		l.audit(false)
	}
	for i := 0; err == nil && i < steps; i++ {
		if err = l.step(); err == nil {
			err = tr.surviveAll(c.take(), 1)
		}
	}
	if err == nil {
		err = l.stop()
	}
	c.mu.Lock()
	c.crash("the end")
	c.mu.Unlock()
	if err == nil {
		err = tr.surviveAll(c.take(), 1)
	}
	if err != nil {
		_ = l.stop() // the first error is the one to be told
		return err
	}
	return l.violations()
}

// surviveAll has crashes survived, side by side.
func (tr *trial) surviveAll(points []point, depth int) error {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, p := range points {
		group.Go(func() error { return tr.survive(p, depth) })
	}
	return group.Wait()
}

// survive starts a broker on a disk after a crash and audits it, and lets some of them go on and crash again.
func (tr *trial) survive(p point, depth int) error {
	tr.lives.Add(1)
	every, steps := 0, 0
	if r := rand.New(rand.NewPCG(p.seed, 3)); depth < tr.depth && r.IntN(4) == 0 {
		every, steps = 60, 1+r.IntN(3)
	}
	l, c := tr.life(p.name+" > ", p.disk, p.ledger, p.seed, every)
	c.recovering, c.weak = true, p.weak
	err := l.start()
	if err == nil {
		l.audit(p.weak)
		c.audited()
	}
	for i := 0; err == nil && i < steps; i++ {
		err = l.step()
	}
	if err == nil {
		err = l.stop()
		l.auditFolders(tr.faulty)
	}
	if err != nil {
		_ = l.stop()
		l.violated("%w", err)
	}
	if err := l.violations(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	points := c.take()
	for _, p := range points {
		if err := tr.survive(p, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// TestEveryCrashPoint has clients work with a broker and kills it, and cuts the power, at each single operation on the
// disk, in some of the brokers that are started after that too. Whatever the disk is then found to hold, the next
// broker keeps all that clients were told. The short form takes a sample of the operations.
func TestEveryCrashPoint(t *testing.T) {
	const night = 10_000 // crash points
	for _, flush := range []int{1, 5} {
		t.Run(fmt.Sprintf("flush.messages=%d", flush), func(t *testing.T) {
			var points, lives int64
			var seen stations
			for seed := firstSeed(t); ; seed++ {
				var dirs []string
				if (seed+uint64(flush))%4 == 2 {
					dirs = []string{secondDir}
				}
				settings, err := crashSettings(flush, dirs...)
				if err != nil {
					t.Fatal(err)
				}
				tr := &trial{seed: seed, flush: flush, settings: settings, every: 50, depth: 2}
				if long() {
					tr.every, tr.depth = 1, 4
				}
				if err := tr.run(50); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
				seen.add(&tr.stations)
				points, lives = points+tr.points.Load(), lives+tr.lives.Load()
				if !long() || points >= night || t.Failed() {
					break
				}
			}
			seen.reached(t)
			for at := range stationCount {
				t.Logf("%6d crashes at %v", seen[at].Load(), at)
			}
			t.Logf("%d crash points, %d brokers after a crash", points, lives)
		})
	}
}
