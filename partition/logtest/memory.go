package logtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"segue/partition"
	"segue/storage"
	"segue/storage/record"
)

// Memory is a partition.Store in memory, for tests. By default what is appended to one of its logs is committed before
// the append returns; a test may hold that back, release it bit by bit, have writes refused, the log fail, or the
// process be killed. It is safe for concurrent use.
type Memory struct {
	decompressor *record.Decompressor
	pinned       atomic.Int64

	mu   sync.Mutex // guards logs
	logs map[storage.Identity]*MemoryLog
}

// NewMemory returns a Memory without logs.
func NewMemory() *Memory {
	return &Memory{decompressor: record.NewDecompressor(64 << 20), logs: make(map[storage.Identity]*MemoryLog)}
}

// Open implements partition.Store.
func (m *Memory) Open(ctx context.Context, id storage.Identity, _ storage.Config, e storage.Events, _ storage.Keeper) (partition.Log, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := m.Log(id)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handle != nil {
		return nil, fmt.Errorf("log %s is open already", id)
	}
	if l.refuseOpen != nil {
		return nil, l.refuseOpen
	}
	l.handle, l.failure = &memoryHandle{l: l, events: e}, nil
	l.committed = l.end
	return l.handle, nil
}

// Delete implements partition.Store.
func (m *Memory) Delete(_ context.Context, id storage.Identity) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.logs, id)
	return nil
}

// List implements partition.Store.
func (m *Memory) List(context.Context) ([]storage.Identity, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []storage.Identity
	for id, l := range m.logs {
		if l.holds() {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Log returns a log, open or not, to be steered.
func (m *Memory) Log(id storage.Identity) *MemoryLog {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.logs[id]
	if l == nil {
		l = &MemoryLog{store: m, id: id, lastEpoch: -1, saved: make(map[string]memoryCheckpoint)}
		m.logs[id] = l
	}
	return l
}

// Pinned returns how many chunks were handed out and not released.
func (m *Memory) Pinned() int { return int(m.pinned.Load()) }

// MemoryLog is one log of a Memory, seen from behind.
type MemoryLog struct {
	store *Memory
	id    storage.Identity

	// deliver is held while events are called, so that they come in order. It is taken before mu.
	deliver sync.Mutex

	mu         sync.Mutex // guards what follows
	handle     *memoryHandle
	batches    []record.Batch
	lastEpoch  int32
	start      record.Offset
	committed  record.Offset
	end        record.Offset
	held       bool
	failure    error
	refuse     error
	room       int // batches that refuse lets pass
	refuseOpen error
	saved      map[string]memoryCheckpoint
	saves      int
}

type memoryCheckpoint struct {
	at    record.Offset
	state []byte
}

func (l *MemoryLog) holds() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end > 0
}

// Hold has appends stay uncommitted, until Commit.
func (l *MemoryLog) Hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = true
}

// Commit commits everything that is written below an offset.
func (l *MemoryLog) Commit(to record.Offset) {
	l.deliver.Lock()
	defer l.deliver.Unlock()
	l.mu.Lock()
	to = min(to, l.end)
	h := l.handle
	announce := h != nil && l.failure == nil && to > l.committed
	if announce {
		l.committed = to
	}
	l.mu.Unlock()
	if announce {
		h.events.Committed(to)
	}
}

// CommitAll commits everything that is written.
func (l *MemoryLog) CommitAll() {
	l.mu.Lock()
	end := l.end
	l.mu.Unlock()
	l.Commit(end)
}

// Fail has the log fail for good, as a sync that fails does.
func (l *MemoryLog) Fail(cause error) {
	l.deliver.Lock()
	defer l.deliver.Unlock()
	l.mu.Lock()
	h := l.handle
	l.failure = cause
	l.mu.Unlock()
	if h != nil {
		h.events.Failed(cause)
	}
}

// RefuseWrites has appends and checkpoints fail with storage.ErrNotWritten for this cause; nil ends that.
func (l *MemoryLog) RefuseWrites(cause error) { l.RefuseWritesBehind(0, cause) }

// RefuseWritesBehind is RefuseWrites once so many more batches are written.
func (l *MemoryLog) RefuseWritesBehind(batches int, cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse, l.room = cause, batches
}

// RefuseOpen has Open fail with this error; nil ends that.
func (l *MemoryLog) RefuseOpen(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuseOpen = err
}

// Crash kills whoever has the log open: its handle is closed without a word, and of what was not committed only the
// first keep batches survive. The log can be opened again.
func (l *MemoryLog) Crash(keep int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handle = nil
	n := slices.IndexFunc(l.batches, func(b record.Batch) bool { return b.NextOffset() > l.committed })
	if n >= 0 && n+keep < len(l.batches) {
		l.batches = l.batches[:n+keep]
	}
	l.end = l.start
	if n := len(l.batches); n > 0 {
		l.end = l.batches[n-1].NextOffset()
	}
}

// Batches returns copies of the batches that the log holds.
func (l *MemoryLog) Batches() []record.Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	batches := make([]record.Batch, len(l.batches))
	for i, b := range l.batches {
		batches[i] = record.Batch{Header: bytes.Clone(b.Bytes())}
	}
	return batches
}

// Saves returns how many checkpoints were saved.
func (l *MemoryLog) Saves() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.saves
}

// SetCheckpoint puts a checkpoint in place, whatever it says.
func (l *MemoryLog) SetCheckpoint(name string, at record.Offset, state []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved[name] = memoryCheckpoint{at, state}
}

// memoryHandle is a MemoryLog as it was opened once.
type memoryHandle struct {
	l      *MemoryLog
	events storage.Events
}

// enter takes the log's lock, for a handle that is open.
func (h *memoryHandle) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	h.l.mu.Lock()
	if h.l.handle != h {
		h.l.mu.Unlock()
		return fmt.Errorf("%s: %w", h.l.id, storage.ErrClosed)
	}
	return nil
}

// writable says why the log cannot be written, if so. The caller holds its lock.
func (h *memoryHandle) writable() error {
	switch l := h.l; {
	case l.failure != nil:
		return fmt.Errorf("%s: %w: %w", l.id, storage.ErrFailed, l.failure)
	case l.refuse != nil && l.room == 0:
		return fmt.Errorf("%s: %w: %w", l.id, storage.ErrNotWritten, l.refuse)
	}
	return nil
}

// Append implements partition.Log.
func (h *memoryHandle) Append(ctx context.Context, epoch int32, batches ...record.Batch) (base, next record.Offset, err error) {
	base, next, err = h.write(ctx, epoch, batches)
	if next == base {
		return base, next, err
	}
	h.l.mu.Lock()
	held := h.l.held
	h.l.mu.Unlock()
	if !held {
		h.l.Commit(next)
	}
	return base, next, err
}

func (h *memoryHandle) write(ctx context.Context, epoch int32, batches []record.Batch) (base, next record.Offset, err error) {
	if err := h.enter(ctx); err != nil {
		return 0, 0, err
	}
	l := h.l
	defer l.mu.Unlock()
	if err := h.writable(); err != nil {
		return 0, 0, err
	}
	if epoch < l.lastEpoch {
		return 0, 0, fmt.Errorf("append to %s at epoch %d: %w", l.id, epoch, storage.ErrStaleEpoch)
	}
	base = l.end
	for _, b := range batches {
		if err := h.writable(); err != nil {
			return base, l.end, err
		}
		l.room = max(0, l.room-1)
		b.SetBaseOffset(l.end)
		b.SetLeaderEpoch(epoch)
		l.batches = append(l.batches, record.Batch{Header: bytes.Clone(b.Bytes())})
		l.lastEpoch, l.end = epoch, b.NextOffset()
	}
	return base, l.end, nil
}

// Read implements partition.Log.
func (h *memoryHandle) Read(ctx context.Context, from, to record.Offset, maxBytes int, atLeastOne bool) (record.Chunk, error) {
	if err := h.enter(ctx); err != nil {
		return record.Chunk{}, err
	}
	l := h.l
	defer l.mu.Unlock()
	if from < l.start || from > l.end {
		return record.Chunk{}, fmt.Errorf("read %s at %d: %w", l.id, from, storage.ErrOffsetOutOfRange)
	}
	i, _ := slices.BinarySearchFunc(l.batches, from, func(b record.Batch, from record.Offset) int {
		if b.NextOffset() > from {
			return 1
		}
		return -1
	})
	var run []byte
	for _, b := range l.batches[i:] {
		if b.NextOffset() > to || len(run)+b.Size() > maxBytes && !(atLeastOne && len(run) == 0) {
			break
		}
		run = append(run, b.Bytes()...)
	}
	if len(run) == 0 {
		return record.Chunk{}, nil
	}
	l.store.pinned.Add(1)
	return record.NewChunk(bytes.NewReader(run), 0, len(run), nil, func() { l.store.pinned.Add(-1) }), nil
}

// OffsetForTime implements partition.Log.
func (h *memoryHandle) OffsetForTime(ctx context.Context, unixMilli int64) (record.Offset, int64, error) {
	if err := h.enter(ctx); err != nil {
		return -1, -1, err
	}
	defer h.l.mu.Unlock()
	return h.first(func(r record.Record) bool { return r.Timestamp >= unixMilli })
}

// MaxTimestamp implements partition.Log.
func (h *memoryHandle) MaxTimestamp(ctx context.Context) (record.Offset, int64, error) {
	if err := h.enter(ctx); err != nil {
		return -1, -1, err
	}
	defer h.l.mu.Unlock()
	newest := int64(record.NoTimestamp)
	if _, _, err := h.first(func(r record.Record) bool { newest = max(newest, r.Timestamp); return false }); err != nil {
		return -1, -1, err
	}
	return h.first(func(r record.Record) bool { return r.Timestamp == newest && newest != record.NoTimestamp })
}

// first returns the first record of the log that is as asked for. The caller holds the lock.
func (h *memoryHandle) first(is func(record.Record) bool) (record.Offset, int64, error) {
	for _, b := range h.l.batches {
		for r, err := range b.Records(h.l.store.decompressor) {
			if err != nil {
				return -1, -1, err
			}
			if r.Offset >= h.l.start && is(r) {
				return r.Offset, r.Timestamp, nil
			}
		}
	}
	return -1, -1, nil
}

// Bounds implements partition.Log.
func (h *memoryHandle) Bounds() (start, committed, end record.Offset) {
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	return h.l.start, h.l.committed, h.l.end
}

// DeleteBefore implements partition.Log.
func (h *memoryHandle) DeleteBefore(ctx context.Context, start record.Offset) error {
	if err := h.enter(ctx); err != nil {
		return err
	}
	l := h.l
	defer l.mu.Unlock()
	if start > l.committed {
		return fmt.Errorf("delete records of %s below %d: %w", l.id, start, storage.ErrOffsetOutOfRange)
	}
	l.start = max(l.start, start)
	l.batches = slices.DeleteFunc(l.batches, func(b record.Batch) bool { return b.NextOffset() <= l.start })
	return nil
}

// Save implements partition.Log.
func (h *memoryHandle) Save(ctx context.Context, name string, at record.Offset, state []byte) error {
	if err := h.enter(ctx); err != nil {
		return err
	}
	l := h.l
	defer l.mu.Unlock()
	if at < l.start || at > l.committed {
		return fmt.Errorf("checkpoint %q of %s at %d: %w", name, l.id, at, storage.ErrOffsetOutOfRange)
	}
	if err := h.writable(); err != nil {
		return err
	}
	l.saved[name] = memoryCheckpoint{at, bytes.Clone(state)}
	l.saves++
	return nil
}

// Load implements partition.Log.
func (h *memoryHandle) Load(ctx context.Context, name string) (record.Offset, []byte, error) {
	if err := h.enter(ctx); err != nil {
		return 0, nil, err
	}
	defer h.l.mu.Unlock()
	c, ok := h.l.saved[name]
	if !ok {
		return 0, nil, fmt.Errorf("checkpoint %q of %s: %w", name, h.l.id, storage.ErrNotFound)
	}
	return c.at, bytes.Clone(c.state), nil
}

// Configure implements partition.Log.
func (h *memoryHandle) Configure(storage.Config) {}

// Size implements partition.Log.
func (h *memoryHandle) Size() (n int64) {
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	for _, b := range h.l.batches {
		n += int64(b.Size())
	}
	return n
}

// Close implements partition.Log.
func (h *memoryHandle) Close() error {
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	if h.l.handle == h {
		h.l.handle = nil
	}
	return nil
}

// ErrDisk is a cause for tests to fail a log with.
var ErrDisk = errors.New("the disk is on fire")
