package storage

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// handles bounds how many files and mappings a directory keeps open. A handle that nobody has pinned may be closed
// to make room for another, the least recently used first, and is opened again when it is next needed. A pinned one
// is never closed: a fetch pins what it reads, and a log pins what it has written and not yet synced, because the
// kernel reports a failed write-back only to descriptors that were open when it happened.
//
// The limit is soft: when everything is pinned, more are opened.
type handles struct {
	limit int

	mu   sync.Mutex
	open int
	idle handleCore // the ring of those that are open and not pinned, least recently used first
	free sync.Cond  // a handle is busy no more
}

func newHandles(limit int) *handles {
	h := &handles{limit: limit}
	h.free.L = &h.mu
	h.idle.before, h.idle.behind = &h.idle, &h.idle
	return h
}

// count returns how many handles are open.
func (h *handles) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// handleCore is the part of a handle that does not depend on its type. All of it is guarded by handles.mu.
type handleCore struct {
	set   *handles
	value io.Closer // nil while closed
	pins  int
	gone  bool // never to be opened again
	busy  bool // being opened, or closed to make room: whoever wants it waits, so that it is never open twice

	before, behind *handleCore // in the ring of idle ones; nil outside it
}

// handle is one resource that is opened on demand.
type handle[T io.Closer] struct {
	handleCore
	openFn func() (T, error)
}

func newHandle[T io.Closer](set *handles, open func() (T, error)) *handle[T] {
	return &handle[T]{handleCore: handleCore{set: set}, openFn: open}
}

// pin returns the open resource and keeps it open until unpin. Any number of callers may pin at once.
func (h *handle[T]) pin() (T, error) {
	var none T
	set := h.set
	set.mu.Lock()
	for h.busy {
		set.free.Wait()
	}
	if h.gone {
		set.mu.Unlock()
		return none, ErrClosed
	}
	if h.value != nil {
		h.take()
		v := h.value.(T)
		set.mu.Unlock()
		return v, nil
	}
	h.busy = true
	set.mu.Unlock()
	opened, err := h.openFn()
	set.mu.Lock()
	h.busy = false
	set.free.Broadcast()
	if err != nil {
		if h.gone { // and perhaps its name with it
			err = ErrClosed
		}
		set.mu.Unlock()
		return none, err
	}
	if h.gone {
		set.mu.Unlock()
		return none, errors.Join(ErrClosed, opened.Close())
	}
	h.value = opened
	set.open++
	h.take()
	surplus := set.shrink()
	set.mu.Unlock()
	set.evict(surplus)
	return opened, nil
}

// adopt gives the handle a resource that is open already, pinned once. The handle must be closed and new.
func (h *handle[T]) adopt(v T) {
	h.set.mu.Lock()
	h.value = v
	h.set.open++
	h.pins = 1
	surplus := h.set.shrink()
	h.set.mu.Unlock()
	h.set.evict(surplus)
}

// take counts a pin. The caller holds handles.mu and the resource is open.
func (h *handleCore) take() {
	h.pins++
	h.leaveIdle()
}

// joinIdle puts the handle at the end of the ring of idle ones, and leaveIdle takes it out if it is there. The caller
// holds handles.mu.
func (h *handleCore) joinIdle() {
	first := &h.set.idle
	h.before, h.behind = first.before, first
	h.before.behind, h.behind.before = h, h
}

func (h *handleCore) leaveIdle() {
	if h.behind != nil {
		h.before.behind, h.behind.before = h.behind, h.before
		h.before, h.behind = nil, nil
	}
}

// unpin gives back one pin.
func (h *handleCore) unpin() {
	set := h.set
	set.mu.Lock()
	if h.pins == 0 {
		set.mu.Unlock()
		panic("storage: unpin of a handle that is not pinned")
	}
	h.pins--
	var surplus []*handleCore
	switch {
	case h.pins > 0:
	case h.gone:
		h.busy = true
		surplus = append(surplus, h)
		set.open--
	default:
		h.joinIdle()
		surplus = set.shrink()
	}
	set.mu.Unlock()
	set.evict(surplus)
}

// drop closes the resource as soon as nobody has it pinned, for good: every later pin fails with ErrClosed. It may be
// called again.
func (h *handleCore) drop() error {
	set := h.set
	set.mu.Lock()
	h.gone = true
	v := h.value
	if v == nil || h.pins > 0 || h.busy {
		set.mu.Unlock()
		return nil
	}
	h.value = nil
	set.open--
	h.leaveIdle()
	set.mu.Unlock()
	return v.Close()
}

// shrink takes idle handles out of the set until it is within its limit and returns them for evict. The caller holds
// mu.
func (h *handles) shrink() []*handleCore {
	var out []*handleCore
	for h.open > h.limit && h.idle.behind != &h.idle {
		out = append(out, h.takeIdle())
	}
	return out
}

// shed closes half of the idle handles, at least one, and says whether there was any.
func (h *handles) shed() bool {
	h.mu.Lock()
	n := 0
	for c := h.idle.behind; c != &h.idle; c = c.behind {
		n++
	}
	var out []*handleCore
	for len(out) < (n+1)/2 {
		out = append(out, h.takeIdle())
	}
	h.mu.Unlock()
	h.evict(out)
	return n > 0
}

// takeIdle takes the least recently used idle handle out of the set, for evict. The caller holds mu, and there is one.
func (h *handles) takeIdle() *handleCore {
	c := h.idle.behind
	c.leaveIdle()
	c.busy = true
	h.open--
	return c
}

// evict closes the resources of handles that are busy with that, and out of the set already. They hold nothing unsynced,
// so an error of Close loses nothing.
func (h *handles) evict(cs []*handleCore) {
	if len(cs) == 0 {
		return
	}
	for _, c := range cs {
		_ = c.value.Close()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range cs {
		c.value, c.busy = nil, false
	}
	h.free.Broadcast()
}

// mappedFile is an index file and its mapping, opened and closed together.
type mappedFile struct {
	file interface {
		io.Closer
		Size() (int64, error)
		Truncate(int64) error
		Allocate(off, n int64) error
		Name() string
	}
	mapping interface {
		Bytes() []byte
		Sync() error
		Close() error
	}
}

func (m *mappedFile) Close() error {
	if err := errors.Join(m.mapping.Close(), m.file.Close()); err != nil {
		return fmt.Errorf("close index %s: %w", m.file.Name(), err)
	}
	return nil
}
