package logtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"segue/storage"
	"segue/storage/record"
)

// testConcurrent runs readers, and one who searches, beside one writer who also deletes from the start. Each reader sees
// every record from where it stands, once and in order, and none that was not announced as committed.
func testConcurrent(t *testing.T, s *subject) {
	const batches, readers = 400, 4
	ctx, cancel := context.WithCancelCause(context.Background())
	var group sync.WaitGroup
	written := make(chan struct{}) // closed when s.end stands
	for range readers {
		group.Go(func() {
			if err := s.follow(ctx, written); err != nil {
				cancel(err)
			}
		})
	}
	group.Go(func() {
		if err := s.searchUntil(written); err != nil {
			cancel(err)
		}
	})
	if err := s.write(ctx, batches); err != nil {
		cancel(err)
	}
	close(written)
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		t.Fatal(err)
	}
	s.settle()
}

// write appends batches and every now and then deletes a quarter of what there is.
func (s *subject) write(ctx context.Context, batches int) error {
	end := s.end
	defer func() { s.end = end }()
	for i := range batches {
		b := Spec{Records: 1 + i%3, ValueBytes: 100, Time: timeZero + int64(i), Codec: codecs[i%len(codecs)]}.Batch(s.T)
		_, next, err := s.log.Append(ctx, 0, b)
		if err != nil {
			return fmt.Errorf("append: %w", err)
		}
		end = next
		if s.Commit != nil && (i%7 == 0 || i == batches-1) {
			s.Commit()
		}
		if i%100 == 99 {
			_, committed, _ := s.log.Bounds()
			s.start = max(s.start, min(end/4, committed))
			if err := s.log.DeleteBefore(ctx, s.start); err != nil {
				return fmt.Errorf("delete: %w", err)
			}
		}
	}
	return nil
}

// follow reads the log from its start as a consumer does, until it is written and read to the end.
func (s *subject) follow(ctx context.Context, written <-chan struct{}) error {
	var buf []byte
	for from := record.Offset(0); ; {
		select {
		case <-written:
			if from >= s.end {
				return nil
			}
		default:
		}
		if ctx.Err() != nil {
			return nil // somebody else has found a fault
		}
		if err := s.events.await(from+1, written); err != nil {
			return err
		}
		start, committed, _ := s.log.Bounds()
		from = max(from, start)
		chunk, err := s.log.Read(ctx, from, committed, 2000, true)
		if errors.Is(err, storage.ErrOffsetOutOfRange) {
			if start, _, _ := s.log.Bounds(); from < start {
				continue // deleted since
			}
		}
		if err != nil {
			return fmt.Errorf("read at %d: %w", from, err)
		}
		buf, err = chunk.AppendTo(buf[:0])
		chunk.Release()
		if err != nil {
			return err
		}
		for rest := buf; len(rest) > 0; {
			var b record.Batch
			if b, rest, err = record.Parse(rest); err == nil {
				err = b.Verify()
			}
			if err != nil {
				return fmt.Errorf("read at %d: %w", from, err)
			}
			if b.BaseOffset() > from || b.NextOffset() <= from || b.NextOffset() > committed {
				return fmt.Errorf("read at %d returned a batch of offsets %d to %d, committed is %d",
					from, b.BaseOffset(), b.LastOffset(), committed)
			}
			from = b.NextOffset()
		}
	}
}

// searchUntil looks at bounds and times every few records, for as long as there is a writer.
func (s *subject) searchUntil(written <-chan struct{}) error {
	for {
		start, committed, end := s.log.Bounds()
		if start > committed || committed > end {
			return fmt.Errorf("bounds are out of order: %d, %d, %d", start, committed, end)
		}
		if _, _, err := s.log.MaxTimestamp(context.Background()); err != nil {
			return fmt.Errorf("search for the largest timestamp: %w", err)
		}
		if _, _, err := s.log.OffsetForTime(context.Background(), timeZero+50); err != nil {
			return fmt.Errorf("search by time: %w", err)
		}
		if err := s.events.await(end+30, written); err != nil {
			return err
		}
		select {
		case <-written:
			return nil
		default:
		}
	}
}
