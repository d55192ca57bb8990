package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Crashable is a file system in memory, for tests. Beside what is on it, it knows what of that is durable,
// and so can tell what its disk may look like after the process was killed (Kill) or the power was cut
// (Crash).
//
// It is as unkind as the contract of FS allows: a sync of a file does not keep its name, a sync of a
// directory does not keep what is in its files, File.Sync does not keep what was stored through a mapping,
// and bytes of one file may come to the disk in any order and in pieces of one sector. What it does keep to
// is that the changes of one name become durable in order, and a rename as a whole, as on every file system
// with a journal.
//
// A mapping is real memory, shared by all handles and mappings of the file. Where a real one would end the
// process, at a store past the end of the file or to a part that was never allocated or written, Crashable
// panics: when the mapping is closed or the disk is copied, since it cannot see the store itself. The race
// detector sees callers' loads and stores, but not those of Crashable.
//
// Names are paths from one root, whether they begin with a separator or not. Directories and names take no
// room.
//
// A Crashable made by Crash or Kill has nothing in common with the one it was made from, which goes on as
// before.
type Crashable struct {
	mu       sync.Mutex // guards all below, and all nodes, handles and mappings
	root     *node
	unsynced []*nameChange // in the order in which they were done
	locked   map[*node]bool
	capacity int64 // negative for no limit
	used     int64
	bulk     bool
	boot     int
}

// NewCrashable returns an empty file system without a limit.
func NewCrashable() *Crashable {
	return &Crashable{root: newDir(), locked: map[*node]bool{}, capacity: -1, boot: 1}
}

// SetCapacity sets how many bytes the files may take, counted in blocks of 4096 bytes. Beyond it writing and
// allocating fail with syscall.ENOSPC, what is there stays. Negative, as in the beginning, is no limit.
func (c *Crashable) SetCapacity(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.capacity = bytes
}

// SetBulkSync sets whether BulkSync returns a Syncer. In the beginning it does not.
func (c *Crashable) SetBulkSync(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bulk = on
}

// Drop does to a file what a failed sync does: what was written to it and is not durable can still be read,
// but is taken for written, so that no later sync makes it durable. Writing it again does. A hook of Inject
// that fails a sync calls it to be as bad as a disk. What was stored through mappings is not concerned.
func (c *Crashable) Drop(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.existing(name)
	if err == nil && n.dir {
		err = syscall.EISDIR
	}
	if err != nil {
		return pathError("drop", name, err)
	}
	n.unsynced, n.unfolded = []dataChange{{size: n.size}}, 0
	return nil
}

// elementsOf takes a path apart; the root has none.
func elementsOf(name string) []string {
	name = filepath.Clean(name)
	name = filepath.ToSlash(name[len(filepath.VolumeName(name)):])
	return slices.DeleteFunc(strings.Split(name, "/"), func(s string) bool { return s == "" || s == "." || s == ".." })
}

// find returns the node of that name, nil if there is none, and the directory it is or would be in with its
// name there. The root is in no directory.
func (c *Crashable) find(name string) (n, parent *node, base string, err error) {
	if name == "" {
		return nil, nil, "", fs.ErrNotExist
	}
	n = c.root
	for _, e := range elementsOf(name) {
		switch {
		case n == nil:
			return nil, nil, "", fs.ErrNotExist
		case !n.dir:
			return nil, nil, "", syscall.ENOTDIR
		}
		parent, base = n, e
		n = n.names[e]
	}
	return n, parent, base, nil
}

// existing is find for a node that must be there.
func (c *Crashable) existing(name string) (*node, error) {
	n, _, _, err := c.find(name)
	if err == nil && n == nil {
		err = fs.ErrNotExist
	}
	return n, err
}

// Open implements FS.
func (c *Crashable) Open(name string) (File, error) { return c.open(name, true) }

// OpenFile implements FS.
func (c *Crashable) OpenFile(name string) (File, error) { return c.open(name, false) }

func (c *Crashable) open(name string, readOnly bool) (File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.existing(name)
	if err == nil && n.dir {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return c.handle(n, name, readOnly), nil
}

// Create implements FS.
func (c *Crashable) Create(name string) (File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.make(name, newFile)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return c.handle(n, name, false), nil
}

func (c *Crashable) handle(n *node, name string, readOnly bool) *crashableFile {
	n.opens++
	return &crashableFile{c: c, node: n, name: name, readOnly: readOnly}
}

// make puts a new node in the place of that name.
func (c *Crashable) make(name string, kind func() *node) (*node, error) {
	n, parent, base, err := c.find(name)
	if err != nil {
		return nil, err
	}
	if n != nil {
		return nil, fs.ErrExist
	}
	n = kind()
	c.change(slotChange{slot: slot{parent, base}, to: n})
	return n, nil
}

// Mkdir implements FS.
func (c *Crashable) Mkdir(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.make(name, newDir)
	return pathError("mkdir", name, err)
}

// MkdirAll implements FS.
func (c *Crashable) MkdirAll(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name == "" {
		return pathError("mkdir", name, fs.ErrNotExist)
	}
	n := c.root
	for _, e := range elementsOf(name) {
		next := n.names[e]
		if next == nil {
			next = newDir()
			c.change(slotChange{slot: slot{n, e}, to: next})
		} else if !next.dir {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		n = next
	}
	return nil
}

// Rename implements FS.
func (c *Crashable) Rename(from, to string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.rename(from, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func (c *Crashable) rename(from, to string) error {
	n, oldDir, oldName, err := c.find(from)
	if err != nil {
		return err
	}
	replaced, newDir, newName, err := c.find(to)
	if err != nil {
		return err
	}
	switch source, target := elementsOf(from), elementsOf(to); {
	case n == nil:
		return fs.ErrNotExist
	case replaced != nil && replaced.dir:
		return fs.ErrExist
	case n.dir && len(target) > len(source) && slices.Equal(source, target[:len(source)]):
		return syscall.EINVAL // into itself
	case replaced == n:
		return nil
	case replaced != nil && n.dir:
		return syscall.ENOTDIR
	}
	c.change(slotChange{slot: slot{oldDir, oldName}}, slotChange{slot: slot{newDir, newName}, to: n})
	return nil
}

// Remove implements FS.
func (c *Crashable) Remove(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, parent, base, err := c.find(name)
	switch {
	case err != nil:
	case n == nil:
		err = fs.ErrNotExist
	case parent == nil:
		err = syscall.EBUSY
	case n.dir && len(n.names) > 0:
		err = syscall.ENOTEMPTY
	default:
		c.change(slotChange{slot: slot{parent, base}})
	}
	return pathError("remove", name, err)
}

// RemoveAll implements FS. Each file and directory goes by a change of its own, as it does on a real file
// system: a crash may keep any of them.
func (c *Crashable) RemoveAll(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, parent, base, err := c.find(name)
	if err == fs.ErrNotExist || err == nil && n == nil {
		return nil
	}
	if err == nil && parent == nil {
		err = syscall.EBUSY
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	c.removeTree(slot{parent, base}, n)
	return nil
}

func (c *Crashable) removeTree(at slot, n *node) {
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		c.removeTree(slot{n, name}, n.names[name])
	}
	c.change(slotChange{slot: at})
}

// ReadDir implements FS.
func (c *Crashable) ReadDir(name string) ([]Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.existing(name)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	entries := make([]Entry, 0, len(n.names))
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		entries = append(entries, Entry{Name: name, Dir: n.names[name].dir, Size: n.names[name].size})
	}
	return entries, nil
}

// Stat implements FS.
func (c *Crashable) Stat(name string) (Info, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.existing(name)
	if err != nil {
		return Info{}, pathError("stat", name, err)
	}
	return Info{Size: n.size, Dir: n.dir, ModTime: n.modTime}, nil
}

// SyncDir implements FS.
func (c *Crashable) SyncDir(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := c.existing(name)
	if err == nil && !d.dir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return pathError("syncdir", name, err)
	}
	c.syncNames(func(s slot) bool { return s.dir == d })
	return nil
}

// Lock implements FS.
func (c *Crashable) Lock(name string) (io.Closer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, _, _, err := c.find(name)
	switch {
	case err != nil:
	case n == nil:
		n, err = c.make(name, newFile)
	case n.dir:
		err = syscall.EISDIR
	case c.locked[n]:
		err = fmt.Errorf("%w with id %d", ErrLocked, os.Getpid())
	}
	if err != nil {
		return nil, pathError("lock", name, err)
	}
	c.locked[n] = true
	n.truncate(c, 0)
	// As with a real file system, the lock is taken also if there is no room for the number in it.
	_, _ = n.write(c, []byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return &crashableLock{c: c, file: c.handle(n, name, false)}, nil
}

type crashableLock struct {
	c    *Crashable
	file *crashableFile
}

func (l *crashableLock) Close() error {
	if err := l.file.Close(); err != nil {
		return err
	}
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	delete(l.c.locked, l.file.node)
	return nil
}

// Free implements FS. Without a capacity it is more than anyone will write to memory.
func (c *Crashable) Free(name string) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.existing(name); err != nil {
		return 0, pathError("statfs", name, err)
	}
	return c.room(), nil
}

// Total implements FS.
func (c *Crashable) Total(name string) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.existing(name); err != nil {
		return 0, pathError("statfs", name, err)
	}
	if c.capacity < 0 {
		return math.MaxInt64, nil
	}
	return c.capacity, nil
}

func (c *Crashable) room() int64 {
	if c.capacity < 0 {
		return math.MaxInt64
	}
	return max(0, c.capacity-c.used)
}

// BootID implements FS. A new one begins with each Crash.
func (c *Crashable) BootID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("boot-%d", c.boot)
}

// BulkSync implements FS, see SetBulkSync.
func (c *Crashable) BulkSync(dir string) (Syncer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.existing(dir)
	if err != nil || !n.dir || !c.bulk {
		return nil, false
	}
	return &crashableSyncer{c: c, name: dir}, true
}

type crashableSyncer struct {
	c      *Crashable
	name   string
	closed bool
}

// Sync implements Syncer.
func (s *crashableSyncer) Sync() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.closed {
		return pathError("syncfs", s.name, fs.ErrClosed)
	}
	s.c.root.walk(func(n *node) {
		if !n.dir {
			n.syncMapped()
		}
	})
	s.c.syncNames(func(slot) bool { return true })
	return nil
}

// Close implements io.Closer.
func (s *crashableSyncer) Close() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.closed {
		return pathError("close", s.name, fs.ErrClosed)
	}
	s.closed = true
	return nil
}

// slot is the place of a name in a directory.
type slot struct {
	dir  *node
	name string
}

// slotChange puts a node into a slot in place of another. Either may be nil, for none.
type slotChange struct {
	slot
	to  *node
	was *node // filled in by Crashable.change
}

// nameChange is what one operation did to names: one slot is changed, or by a rename two, which a crash keeps
// or loses together.
type nameChange struct{ slots []slotChange }

// change does a nameChange and remembers it.
func (c *Crashable) change(slots ...slotChange) {
	now := time.Now()
	for _, s := range slots {
		if s.to != nil {
			s.to.links++ // first, so that what only moves is not released
		}
	}
	for i := range slots {
		s := &slots[i]
		s.was = s.dir.names[s.name]
		s.put(s.dir.names)
		s.dir.modTime = now
		if s.was != nil {
			s.was.links--
			c.release(s.was)
		}
	}
	c.unsynced = append(c.unsynced, &nameChange{slots})
}

// put does the change to the names of the slot's directory: those of now, or those that are durable.
func (s *slotChange) put(names map[string]*node) {
	if s.to == nil {
		delete(names, s.name)
	} else {
		names[s.name] = s.to
	}
}

// withEarlier extends a choice of changes by those that must come before: earlier changes of the same slots.
func withEarlier(changes []*nameChange, chosen []bool) {
	needed := map[slot]bool{}
	for i := len(changes) - 1; i >= 0; i-- {
		for _, s := range changes[i].slots {
			chosen[i] = chosen[i] || needed[s.slot]
		}
		if chosen[i] {
			for _, s := range changes[i].slots {
				needed[s.slot] = true
			}
		}
	}
}

// syncNames makes durable the changes that concern one of those slots.
func (c *Crashable) syncNames(of func(slot) bool) {
	chosen := make([]bool, len(c.unsynced))
	for i, change := range c.unsynced {
		chosen[i] = slices.ContainsFunc(change.slots, func(s slotChange) bool { return of(s.slot) })
	}
	withEarlier(c.unsynced, chosen)
	var rest []*nameChange
	for i, change := range c.unsynced {
		if !chosen[i] {
			rest = append(rest, change)
			continue
		}
		for _, s := range change.slots {
			s.put(s.dir.durable)
			s.bury()
		}
	}
	// What happened in a directory that is gone for good is of no more interest. The changes in a directory
	// below it come before its own removal, hence backwards.
	for i := len(rest) - 1; i >= 0; i-- {
		if slices.ContainsFunc(rest[i].slots, func(s slotChange) bool { return !s.dir.gone }) {
			continue
		}
		for _, s := range rest[i].slots {
			s.bury()
		}
		rest[i] = nil
	}
	c.unsynced = slices.DeleteFunc(rest, func(change *nameChange) bool { return change == nil })
}

// bury notes, when the change has become durable, what of it is gone for good.
func (s *slotChange) bury() {
	if s.was != nil {
		s.was.gone = s.was.links == 0
	}
	if s.to != nil {
		s.to.gone = false
	}
}
