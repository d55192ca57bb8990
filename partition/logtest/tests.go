package logtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"segue/storage"
	"segue/storage/record"
)

var codecs = []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}

func testEmpty(t *testing.T, s *subject) {
	ctx := context.Background()
	s.settle()
	s.read(0, 0, 1<<20, true)
	s.read(0, 100, 1<<20, true)
	for _, from := range []record.Offset{-1, 1} {
		_, err := s.log.Read(ctx, from, 100, 1<<20, true)
		s.wantError(fmt.Sprintf("Read at %d of an empty log", from), err, storage.ErrOffsetOutOfRange)
	}
	if at, ts, err := s.log.OffsetForTime(ctx, 0); at != -1 || ts != -1 || err != nil {
		t.Errorf("OffsetForTime is %d, %d, %v, want -1, -1", at, ts, err)
	}
	if at, ts, err := s.log.MaxTimestamp(ctx); at != -1 || ts != -1 || err != nil {
		t.Errorf("MaxTimestamp is %d, %d, %v, want -1, -1", at, ts, err)
	}
	if _, _, err := s.log.Load(ctx, "state"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Load returned %v, want ErrNotFound", err)
	}
	if err := s.log.DeleteBefore(ctx, 0); err != nil {
		t.Errorf("DeleteBefore(0): %v", err)
	}
	s.wantError("DeleteBefore(1)", s.log.DeleteBefore(ctx, 1), storage.ErrOffsetOutOfRange)
	if n := s.log.Size(); n != 0 {
		t.Errorf("Size is %d, want 0", n)
	}
	s.settle()
}

func testAppend(t *testing.T, s *subject) {
	var size int64
	for i := range 40 {
		b := Spec{Records: 1 + i%5, ValueBytes: i * 40, Time: timeZero + int64(i), Codec: codecs[i%len(codecs)]}.Batch(t)
		size += int64(b.Size())
		s.epoch = int32(i / 10)
		s.append(b)
	}
	// One that fills a segment by itself.
	big := Spec{ValueBytes: 7 << 10, Time: timeZero}.Batch(t)
	size += int64(big.Size())
	s.append(big)
	s.settle()
	if n := s.log.Size(); n != size {
		t.Errorf("Size is %d, want %d", n, size)
	}
	s.readAll(1)
	s.readAll(1000)
	s.readAll(1 << 20)
	for _, b := range s.batches {
		if err := b.Verify(); err != nil {
			t.Error(err)
		}
	}
}

func testStaleEpoch(t *testing.T, s *subject) {
	s.epoch = 4
	s.fill(2)
	_, _, err := s.log.Append(context.Background(), 3, Spec{Time: timeZero}.Batch(t))
	s.wantError("Append at an older epoch", err, storage.ErrStaleEpoch)
	s.settle()
	s.epoch = 9
	s.fill(2)
	if s.Reopens {
		s.reopen()
		_, _, err := s.log.Append(context.Background(), 8, Spec{Time: timeZero}.Batch(t))
		s.wantError("Append at an older epoch, after Reopen", err, storage.ErrStaleEpoch)
		s.fill(1)
	}
	s.readAll(1 << 20)
}

func testReadLimits(t *testing.T, s *subject) {
	s.fill(60)
	for i := 0; i+6 < len(s.batches); i += 5 {
		from, one := s.batches[i].BaseOffset(), s.batches[i].Size()
		three := one + s.batches[i+1].Size() + s.batches[i+2].Size()
		for _, maxBytes := range []int{0, 1, one - 1, one, one + 1, three - 1, three, 1 << 20} {
			s.read(from, s.end, maxBytes, false)
			s.read(from, s.end, maxBytes, true)
		}
		// No further than to: a batch that reaches beyond it stays out, also as the first one.
		for to := from; to <= s.batches[i+4].NextOffset(); to++ {
			s.read(from, to, 1<<20, true)
			s.read(from, to, one, false)
		}
	}
	s.read(s.end, s.end, 1<<20, true)
	s.read(s.end-1, s.end+100, 1<<20, true)
	for _, from := range []record.Offset{-1, s.end + 1} {
		_, err := s.log.Read(context.Background(), from, s.end+10, 1<<20, true)
		s.wantError(fmt.Sprintf("Read at %d", from), err, storage.ErrOffsetOutOfRange)
	}
}

func testReadInsideBatch(t *testing.T, s *subject) {
	for i, codec := range codecs {
		s.append(Spec{Records: 7, ValueBytes: 100, Time: timeZero + int64(i), Codec: codec}.Batch(t))
	}
	s.settle()
	for from := s.start; from < s.end; from++ {
		s.read(from, s.end, 1<<20, false)
		s.read(from, s.end, 1, true)
	}
}

func testDeleteBefore(t *testing.T, s *subject) {
	ctx := context.Background()
	s.fill(80)
	var held []record.Chunk
	for _, at := range []record.Offset{1, 2, 30, 31, 90, s.end - 1} {
		chunk, err := s.log.Read(ctx, s.start, s.end, 1<<20, true)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, chunk)
		if err := s.log.DeleteBefore(ctx, at); err != nil {
			t.Fatalf("DeleteBefore(%d): %v", at, err)
		}
		s.start = at
		s.settle()
		_, err = s.log.Read(ctx, at-1, s.end, 1<<20, true)
		s.wantError("Read below the log start", err, storage.ErrOffsetOutOfRange)
		s.read(at, s.end, 1<<20, true)
		s.readAll(700)
		// A start at or below the one there is changes nothing.
		if err := errors.Join(s.log.DeleteBefore(ctx, at), s.log.DeleteBefore(ctx, at-1), s.log.DeleteBefore(ctx, 0)); err != nil {
			t.Errorf("DeleteBefore what is deleted: %v", err)
		}
		s.settle()
	}
	s.wantError("DeleteBefore above the end", s.log.DeleteBefore(ctx, s.end+1), storage.ErrOffsetOutOfRange)
	// What a reader was given before it was deleted, it has.
	for _, chunk := range held {
		got, err := chunk.AppendTo(nil)
		if err != nil {
			t.Errorf("a chunk from before a deletion: %v", err)
		}
		if b, _, err := record.Parse(got); err != nil || b.Verify() != nil {
			t.Errorf("a chunk from before a deletion does not hold a batch any more: %v", err)
		}
		chunk.Release()
	}
	s.fill(3)
	s.readAll(1 << 20)
	if s.Reopens {
		s.reopen()
		s.settle()
		s.readAll(1 << 20)
	}
}

func testDeleteEverything(t *testing.T, s *subject) {
	ctx := context.Background()
	for range 3 {
		s.fill(20)
		if err := s.log.DeleteBefore(ctx, s.end); err != nil {
			t.Fatalf("DeleteBefore(%d), the end: %v", s.end, err)
		}
		s.start = s.end
		s.settle()
		s.read(s.end, s.end, 1<<20, true)
		if at, ts, err := s.log.OffsetForTime(ctx, 0); at != -1 || ts != -1 || err != nil {
			t.Errorf("OffsetForTime with no records is %d, %d, %v, want -1, -1", at, ts, err)
		}
		if at, ts, err := s.log.MaxTimestamp(ctx); at != -1 || ts != -1 || err != nil {
			t.Errorf("MaxTimestamp with no records is %d, %d, %v, want -1, -1", at, ts, err)
		}
		if s.Reopens {
			s.reopen()
			s.settle()
		}
	}
	s.fill(2)
	s.readAll(1 << 20)
}

func testOffsetForTime(t *testing.T, s *subject) {
	const z = timeZero
	for _, codec := range codecs {
		s.append(Spec{Times: []int64{z + 10, z + 30, z + 20}, Codec: codec}.Batch(t))
		s.append(Spec{Records: 2, Time: z + 5, Codec: codec, Type: record.LogAppendTime}.Batch(t))
		s.append(Spec{Times: []int64{-1, z + 40, -1}, Codec: codec}.Batch(t))
		s.append(Spec{Records: 5, Time: z + 25, Step: -5, ValueBytes: 300, Codec: codec}.Batch(t))
		s.append(Spec{Times: []int64{z + 100 + 100*int64(codec), z + 150 + 100*int64(codec)}, ValueBytes: 500, Codec: codec}.Batch(t))
	}
	s.settle()
	s.checkTimes(z, z+800)
	if s.Reopens {
		s.reopen()
		s.checkTimes(z, z+800)
	}
}

func testTimeBehindLogStart(t *testing.T, s *subject) {
	const z = timeZero
	for i, codec := range codecs {
		s.append(Spec{Times: []int64{z + 90, z + 10, z + 50}, Codec: codec}.Batch(t))
		s.append(Spec{Times: []int64{z + 60 - int64(i), z + 20}, Codec: codec, ValueBytes: 600}.Batch(t))
	}
	s.settle()
	for s.start < s.end {
		s.start++
		if err := s.log.DeleteBefore(context.Background(), s.start); err != nil {
			t.Fatal(err)
		}
		s.checkTimes(z, z+100)
		s.checkMaxTimestamp()
	}
}

// checkTimes asks for every fifth time of a range and compares the answers with the model's.
func (s *subject) checkTimes(from, to int64) {
	s.Helper()
	for target := from; target <= to; target += 5 {
		want, wantTime := s.firstRecord(func(r record.Record) bool { return r.Timestamp >= target })
		at, ts, err := s.log.OffsetForTime(context.Background(), target)
		if err != nil || at != want || ts != wantTime {
			s.Fatalf("OffsetForTime(zero+%d) from %d is %d, %d, %v, want %d, %d", target-timeZero, s.start, at, ts, err, want, wantTime)
		}
	}
}

func (s *subject) checkMaxTimestamp() {
	s.Helper()
	newest := int64(record.NoTimestamp)
	s.firstRecord(func(r record.Record) bool { newest = max(newest, r.Timestamp); return false })
	want, wantTime := s.firstRecord(func(r record.Record) bool { return r.Timestamp == newest && newest >= 0 })
	at, ts, err := s.log.MaxTimestamp(context.Background())
	if err != nil || at != want || ts != wantTime {
		s.Fatalf("MaxTimestamp from %d is %d, %d, %v, want %d, %d", s.start, at, ts, err, want, wantTime)
	}
}

// firstRecord finds the model's first record at or above the log start that is as asked for.
func (s *subject) firstRecord(is func(record.Record) bool) (record.Offset, int64) {
	s.Helper()
	d := record.NewDecompressor(1 << 20)
	for _, b := range s.readable(s.start, s.end) {
		for r, err := range b.Records(d) {
			if err != nil {
				s.Fatal(err)
			}
			if r.Offset >= s.start && is(r) {
				return r.Offset, r.Timestamp
			}
		}
	}
	return -1, -1
}

func testMaxTimestamp(t *testing.T, s *subject) {
	const z = timeZero
	for _, spec := range []Spec{
		{Times: []int64{-1, -1}},
		{Times: []int64{z + 3, z + 9, z + 9, z + 1}},
		{Times: []int64{z + 9}},
		{Records: 3, Time: z + 12, Type: record.LogAppendTime},
		{Records: 30, Time: z, Step: 1, Codec: record.Zstd, ValueBytes: 400},
		{Times: []int64{z + 2}, ValueBytes: 2000},
		{Times: []int64{z + 29, z + 30, z + 2, z + 30}, Codec: record.LZ4},
	} {
		s.append(spec.Batch(t))
		s.settle()
		s.checkMaxTimestamp()
	}
	if s.Reopens {
		s.reopen()
		s.checkMaxTimestamp()
	}
}

func testCheckpoints(t *testing.T, s *subject) {
	ctx := context.Background()
	s.fill(10)
	save := func(name string, at record.Offset, state string) {
		t.Helper()
		if err := s.log.Save(ctx, name, at, []byte(state)); err != nil {
			t.Fatalf("Save(%q, %d): %v", name, at, err)
		}
	}
	check := func(name string, at record.Offset, state string) {
		t.Helper()
		gotAt, got, err := s.log.Load(ctx, name)
		if err != nil || gotAt != at || string(got) != state {
			t.Fatalf("Load(%q) is %d, %q, %v, want %d, %q", name, gotAt, got, err, at, state)
		}
	}
	middle := s.batches[4].NextOffset()
	save("one", middle, "first")
	save("two", s.end, "")
	check("one", middle, "first")
	check("two", s.end, "")
	large := string(bytes.Repeat([]byte("state"), 100_000))
	save("one", s.end, large)
	check("one", s.end, large)
	s.wantError("Save above the end", s.log.Save(ctx, "one", s.end+1, nil), storage.ErrOffsetOutOfRange)
	check("one", s.end, large)
	_, _, err := s.log.Load(ctx, "three")
	s.wantError("Load of what was never saved", err, storage.ErrNotFound)
	if s.Reopens {
		saved := s.end
		s.fill(5)
		s.reopen()
		check("one", saved, large)
		check("two", saved, "")
		save("two", s.end, "new")
		check("two", s.end, "new")
	}
}

func testConfigure(t *testing.T, s *subject) {
	for _, size := range []int64{2 << 10, 64 << 10, 1 << 10, 16 << 10} {
		for _, messages := range []int64{1, 1000} {
			s.config.SegmentBytes, s.config.FlushMessages = size, messages
			s.log.Configure(s.config)
			s.fill(10)
			s.readAll(3000)
		}
	}
}

func testReopen(t *testing.T, s *subject) {
	for i := range 4 {
		s.epoch = int32(i)
		s.fill(1 + 9*i)
		s.reopen()
		s.settle()
		s.readAll(500)
		s.readAll(1 << 20)
	}
	s.checkTimes(timeZero, timeZero+300)
}

func testClose(t *testing.T, s *subject) {
	ctx := context.Background()
	s.fill(10)
	chunk, err := s.log.Read(ctx, 0, s.end, 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	log := s.log
	s.close()
	if err := log.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	got, err := chunk.AppendTo(nil)
	if err != nil || !bytes.HasPrefix(got, s.batches[0].Bytes()) {
		t.Errorf("a chunk that was out when the log was closed: %v", err)
	}
	chunk.Release()
	chunk.Release()
	_, _, err = log.Append(ctx, 0, Spec{Time: timeZero}.Batch(t))
	s.wantError("Append", err, storage.ErrClosed)
	for _, from := range []record.Offset{0, s.end} {
		_, err = log.Read(ctx, from, s.end, 1<<20, true)
		s.wantError(fmt.Sprintf("Read at %d", from), err, storage.ErrClosed)
	}
	_, _, err = log.OffsetForTime(ctx, 0)
	s.wantError("OffsetForTime", err, storage.ErrClosed)
	_, _, err = log.MaxTimestamp(ctx)
	s.wantError("MaxTimestamp", err, storage.ErrClosed)
	s.wantError("DeleteBefore", log.DeleteBefore(ctx, 1), storage.ErrClosed)
	s.wantError("Save", log.Save(ctx, "state", 1, nil), storage.ErrClosed)
	_, _, err = log.Load(ctx, "state")
	s.wantError("Load", err, storage.ErrClosed)
	log.Configure(s.config)
	log.Bounds()
}

// An ended context may keep anything from being done, but then it is not done; and nothing is half done.
func testEndedContext(t *testing.T, s *subject) {
	s.fill(10)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := func(doing string, err error) bool {
		t.Helper()
		if err != nil {
			s.wantError(doing, err, context.Canceled)
		}
		return err == nil
	}
	b := Spec{Records: 3, Time: timeZero}.Batch(t)
	if _, next, err := s.log.Append(ctx, 0, b); done("Append", err) {
		s.end = next
		s.batches = append(s.batches, b)
	}
	s.settle()
	chunk, err := s.log.Read(ctx, 0, s.end, 1<<20, true)
	done("Read", err)
	chunk.Release()
	_, _, err = s.log.OffsetForTime(ctx, timeZero)
	done("OffsetForTime", err)
	_, _, err = s.log.MaxTimestamp(ctx)
	done("MaxTimestamp", err)
	if done("DeleteBefore", s.log.DeleteBefore(ctx, 2)) {
		s.start = 2
	}
	s.settle()
	saved := done("Save", s.log.Save(ctx, "state", s.end, []byte("x")))
	_, _, err = s.log.Load(context.Background(), "state")
	if found := err == nil; found != saved {
		t.Errorf("Save under an ended context worked: %v, Load found it: %v", saved, found)
	}
	s.fill(3)
	s.readAll(1 << 20)
}
