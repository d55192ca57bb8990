package storage

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"strings"

	"segue/storage/record"
	"segue/storage/vfs"
)

// The files beside a log's segments: checkpoints, the log start offset, and the topic id. FORMAT.md draws them.

const (
	checkpointSuffix = ".checkpoint"
	cleanCheckpoint  = "clean" // written by a log itself when it closes
	// cleanedCheckpoint is written by compaction: up to where the log is compacted.
	cleanedCheckpoint = "compacted"
	startFile         = "log-start-offset"
	metadataFile      = "partition.metadata" // Kafka's name and format

	checkpointVersion = 1
	checkpointFixed   = 8 + 4 + 4 + 16 + 5*8 + 2*4 + 4 // before the state; behind it comes a checksum
	maxCheckpoint     = 1 << 30
)

var (
	checkpointMagic = []byte("segueckp")
	startMagic      = []byte("seguelso")
)

// point is a place in a log up to which its bytes were sound and synced when it was noted, and what a recovery
// needs to go on from there.
type point struct {
	at           record.Offset
	base         record.Offset // of the segment
	position     int64         // in it
	entries      int64         // of its index that lie at or below position
	maxTimestamp int64         // of the segment below position
	entriesSum   uint32
	lastEpoch    int32
}

// Save keeps state under a name, as the sum of all records below at, which must be the end of a batch that is
// committed. It waits until the log is synced up to there, so a checkpoint also spares the recovery everything
// below it. A newer checkpoint of the same name replaces the older one; a crash leaves one of them whole.
func (l *Log) Save(ctx context.Context, name string, at record.Offset, state []byte) error {
	if name == "" || name == cleanCheckpoint || name == cleanedCheckpoint || strings.ContainsAny(name, `/\.`) {
		return fmt.Errorf("checkpoint name %q: a name has no dot and no slash, and is neither %q nor %q", name, cleanCheckpoint, cleanedCheckpoint)
	}
	if len(state) > maxCheckpoint {
		return fmt.Errorf("checkpoint %q of %s: %d bytes are more than the %d allowed", name, l.id, len(state), maxCheckpoint)
	}
	if err := l.takeTurn(ctx); err != nil {
		return err
	}
	defer l.giveTurn()
	if err := l.ifClosed(); err != nil {
		return err
	}
	if start := l.view.Load().start; at < start || at > record.Offset(l.end.Load()) {
		return fmt.Errorf("checkpoint %q of %s at offset %d: %w", name, l.id, at, ErrOffsetOutOfRange)
	}
	if err := l.sync(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	synced := l.synced.offset
	l.mu.Unlock()
	if at > synced { // an append that was not through when this sync began
		return fmt.Errorf("checkpoint %q of %s at offset %d, it is synced to %d: %w", name, l.id, at, synced, ErrOffsetOutOfRange)
	}
	if err := l.saveCheckpoint(name, at, state); err != nil {
		return fmt.Errorf("checkpoint %q of %s: %w", name, l.id, err)
	}
	return nil
}

// saveCheckpoint is Save for a caller that has the turn, with everything below at synced.
func (l *Log) saveCheckpoint(name string, at record.Offset, state []byte) error {
	p, err := l.pointAt(at)
	if err != nil {
		return err
	}
	if p == nil {
		return nil // a log without a segment has nothing to remember
	}
	l.found = foundState{}
	path := filepath.Join(l.folder, name+checkpointSuffix)
	content := encodeCheckpoint(l.id.TopicID, *p, state)
	j := l.dir.joint
	doubt := j.doubt.Load()
	err = l.dir.reserve.with(forCaches, func() error {
		return replaceFile(l.dir.fs, path, content, func(f vfs.File) error { return j.sync(doubt, f.Sync) })
	})
	if err != nil {
		return err
	}
	l.checkpointed = max(l.checkpointed, at)
	return nil
}

// pointAt describes the place of an offset, which must be the end of a batch, or the log start.
func (l *Log) pointAt(at record.Offset) (*point, error) {
	l.mu.Lock()
	m := l.written
	l.mu.Unlock()
	if m.segment == nil {
		return nil, nil
	}
	if m.offset != at {
		s, err := l.segmentAt(at) // there is one: at lies below what is written
		if err != nil {
			return nil, err
		}
		defer s.release()
		if err := l.prepare(s); err != nil {
			return nil, err
		}
		f, err := s.file.pin()
		if err != nil {
			return nil, err
		}
		defer s.file.unpin()
		place, err := s.find(f, at, s.size.Load())
		switch {
		case err == io.EOF:
			m = mark{at, s, s.size.Load()}
		case err != nil:
			return nil, err
		default:
			m = mark{at, s, place.pos}
		}
	} else if !m.segment.hold() {
		return nil, ErrClosed
	} else {
		defer m.segment.release()
	}
	return m.segment.describe(m, l.epoch())
}

// epoch returns the leader epoch of the last batch.
func (l *Log) epoch() int32 {
	l.writer.Lock()
	defer l.writer.Unlock()
	return l.lastEpoch
}

// describe makes a point of a mark in a held segment, and syncs the index entries below it.
func (s *Segment) describe(m mark, lastEpoch int32) (*point, error) {
	p := &point{at: m.offset, base: s.base, position: m.position, lastEpoch: lastEpoch, maxTimestamp: noTimestamp}
	var e indexEntry // the walk begins at the start where the index is of no use, which the next open makes again then
	if x := s.idx.Load(); !x.odd.Load() && x.count.Load() > 0 {
		var err error
		if p.entries, p.entriesSum, err = x.below(m.position); err != nil {
			return nil, err
		}
		// The checksum tells whether they have come to the disk, so no doubt is as good as any.
		if err := s.dir.joint.sync(s.dir.joint.doubt.Load(), x.sync); err != nil {
			return nil, err
		}
		if e, err = x.floorPosition(m.position); err != nil {
			return nil, err
		}
		p.maxTimestamp = e.MaxBefore
	}
	f, err := s.file.pin()
	if err != nil {
		return nil, err
	}
	defer s.file.unpin()
	w := s.walk(f, int64(e.Position), m.position)
	defer w.done()
	for {
		h, err := w.peek()
		if err == io.EOF {
			return p, nil
		}
		if err != nil {
			return nil, err
		}
		p.maxTimestamp = max(p.maxTimestamp, h.MaxTimestamp())
		w.skip(h)
	}
}

// isStored says whether the log has a folder.
func (l *Log) isStored() bool {
	l.writer.Lock()
	defer l.writer.Unlock()
	return l.hasFolder
}

// foundState is a checkpoint that the open has read, kept for whoever loads it next, as partitions do at once.
type foundState struct {
	name  string // empty for none
	at    record.Offset
	state []byte
}

// maxFoundState is how much of it is kept: it is memory for as long as nobody asks.
const maxFoundState = 16 << 10

// Load returns the checkpoint of that name and where it stands, which is never behind the end of the log.
// ErrNotFound says that there is none, or that what is there is not sound.
func (l *Log) Load(ctx context.Context, name string) (at record.Offset, state []byte, err error) {
	if err := l.takeTurn(ctx); err != nil {
		return 0, nil, err
	}
	defer l.giveTurn()
	if err := l.ifClosed(); err != nil {
		return 0, nil, err
	}
	if !l.isStored() {
		return 0, nil, ErrNotFound
	}
	found := l.found
	if l.found = (foundState{}); found.name != name {
		var p point
		if p, found.state, err = readCheckpoint(l.dir.fs, filepath.Join(l.folder, name+checkpointSuffix), l.id.TopicID); err != nil {
			return 0, nil, fmt.Errorf("checkpoint %q of %s: %w", name, l.id, err)
		}
		found.at = p.at
	}
	if end := record.Offset(l.end.Load()); found.at > end {
		return 0, nil, fmt.Errorf("checkpoint %q of %s stands at offset %d, behind the end %d: %w", name, l.id, found.at, end, ErrNotFound)
	}
	return found.at, found.state, nil
}

func encodeCheckpoint(topicID [16]byte, p point, state []byte) []byte {
	b := make([]byte, 0, checkpointFixed+len(state)+4)
	b = append(b, checkpointMagic...)
	b = order.AppendUint32(b, checkpointVersion)
	b = order.AppendUint32(b, 0)
	b = append(b, topicID[:]...)
	for _, v := range [...]int64{int64(p.at), int64(p.base), p.position, p.entries, p.maxTimestamp} {
		b = order.AppendUint64(b, uint64(v))
	}
	b = order.AppendUint32(b, p.entriesSum)
	b = order.AppendUint32(b, uint32(p.lastEpoch))
	b = order.AppendUint32(b, uint32(len(state)))
	b = append(b, state...)
	return order.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errUnsound = errors.New("not sound")

// readCheckpoint reads a checkpoint file. Every error but a failure to read is an ErrNotFound.
func readCheckpoint(fsys vfs.FS, path string, topicID [16]byte) (p point, state []byte, err error) {
	b, err := readFile(fsys, path, maxCheckpoint+checkpointFixed+4)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errUnsound) {
		return p, nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return p, nil, err
	}
	p, state, err = decodeCheckpoint(b, topicID)
	if err != nil {
		return p, nil, fmt.Errorf("%s: %w: %w", path, ErrNotFound, err)
	}
	return p, state, nil
}

// checkpointBody returns a checkpoint without its checksum, which is compared.
func checkpointBody(b []byte) ([]byte, error) {
	if len(b) < checkpointFixed+4 || !bytes.Equal(b[:8], checkpointMagic) {
		return nil, errUnsound
	}
	body, sum := b[:len(b)-4], order.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, fmt.Errorf("%w: checksum differs", errUnsound)
	}
	if v := order.Uint32(b[8:]); v != checkpointVersion {
		return nil, fmt.Errorf("%w: format version %d, this broker knows %d", errUnsound, v, checkpointVersion)
	}
	return body, nil
}

// checkpointTopic returns the topic id that a checkpoint names, if it is sound.
func checkpointTopic(b []byte) (id [16]byte, ok bool) {
	body, err := checkpointBody(b)
	if err != nil {
		return id, false
	}
	return [16]byte(body[16:32]), true
}

func decodeCheckpoint(b []byte, topicID [16]byte) (p point, state []byte, err error) {
	body, err := checkpointBody(b)
	if err != nil {
		return p, nil, err
	}
	if !bytes.Equal(b[16:32], topicID[:]) {
		return p, nil, fmt.Errorf("%w: it belongs to another topic id", errUnsound)
	}
	n := func(i int) int64 { return int64(order.Uint64(b[32+8*i:])) }
	p = point{
		at: record.Offset(n(0)), base: record.Offset(n(1)), position: n(2), entries: n(3), maxTimestamp: n(4),
		entriesSum: order.Uint32(b[72:]), lastEpoch: int32(order.Uint32(b[76:])),
	}
	if p.base < 0 || p.at < p.base || p.at-p.base > 1<<31 || p.position < 0 || p.position > math.MaxInt32 || p.entries < 0 {
		return p, nil, fmt.Errorf("%w: impossible place", errUnsound)
	}
	if state = body[checkpointFixed:]; len(state) != int(order.Uint32(b[80:])) {
		return p, nil, fmt.Errorf("%w: its length differs", errUnsound)
	}
	return p, state, nil
}

// readFile returns the content of a small file.
func readFile(fsys vfs.FS, path string, limit int64) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s: %w: %d bytes are more than the %d allowed", path, errUnsound, size, limit)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}

// writeStart makes a log start offset durable.
func (l *Log) writeStart(start record.Offset) error {
	b := append([]byte(nil), startMagic...)
	b = order.AppendUint64(b, uint64(start))
	b = order.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return l.dir.reserve.with(forRoom, func() error {
		if err := writeFile(l.dir.fs, filepath.Join(l.folder, startFile), b); err != nil {
			return err
		}
		return l.dir.fs.SyncDir(l.folder)
	})
}

// readStart returns the log start offset that was made durable last, 0 if none was.
func readStart(fsys vfs.FS, folder string) (record.Offset, error) {
	path := filepath.Join(folder, startFile)
	b, err := readFile(fsys, path, 1<<10)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case errors.Is(err, errUnsound):
		b = nil // too long to be one
	case err != nil:
		return 0, err
	}
	if len(b) > 20 && bytes.Equal(b[:8], startMagic) && crc32.Checksum(b[:len(b)-4], castagnoli) == order.Uint32(b[len(b)-4:]) {
		return 0, fmt.Errorf("%s: %w: it has %d bytes and this broker knows the form with 20; use the newer broker", path, ErrUnsupported, len(b))
	}
	start := record.Offset(-1)
	if len(b) == 20 && bytes.Equal(b[:8], startMagic) && crc32.Checksum(b[:16], castagnoli) == order.Uint32(b[16:]) {
		start = record.Offset(order.Uint64(b[8:]))
	}
	if start < 0 {
		return 0, &CorruptError{File: path, Err: fmt.Errorf("%w: which records were deleted is not known; put it back from a "+
			"copy, or remove it: then those deleted records that still lie in the segments can be read again", errUnsound)}
	}
	return start, nil
}

// writeMetadata writes the topic id down as Kafka does.
func writeMetadata(fsys vfs.FS, folder string, id Identity) error {
	text := fmt.Sprintf("version: 0\ntopic_id: %s\n", formatID(id.TopicID))
	return writeFile(fsys, filepath.Join(folder, metadataFile), []byte(text))
}

const metadataAdvice = "if the folder is that topic's, remove this file, and it is written again"

// readMetadata returns the topic id of a folder; ok is false where none is written down.
func readMetadata(fsys vfs.FS, folder string) (id [16]byte, ok bool, err error) {
	path := filepath.Join(folder, metadataFile)
	b, err := readFile(fsys, path, 1<<10)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return id, false, nil
	case errors.Is(err, errUnsound):
		return id, false, &CorruptError{File: path, Err: fmt.Errorf("%w; %s", err, metadataAdvice)}
	case err != nil:
		return id, false, err
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch name {
		case "version":
			if value != "0" {
				return id, false, fmt.Errorf("%s: %w: version %q, this broker knows 0; use the newer broker", path, ErrUnsupported, value)
			}
		case "topic_id":
			raw, err := base64.RawURLEncoding.DecodeString(value)
			if err != nil || len(raw) != len(id) {
				return id, false, &CorruptError{File: path, Err: fmt.Errorf("topic id %q is none; %s", value, metadataAdvice)}
			}
			copy(id[:], raw)
			ok = true
		}
	}
	if !ok {
		return id, false, &CorruptError{File: path, Err: errors.New("it names no topic id; " + metadataAdvice)}
	}
	return id, true, nil
}
