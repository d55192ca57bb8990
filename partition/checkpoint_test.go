package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"segue/storage"
	"segue/storage/record"
)

// someState is a state with a bit of everything, made from a seed.
func someState(seed uint64) *state {
	r := rand.New(rand.NewPCG(seed, 0))
	s := &state{}
	start := record.Offset(0)
	for i := range r.Int32N(5) {
		s.epochs = s.epochs.assign(i*3, start)
		start += 1 + record.Offset(r.Int64N(1<<40))
	}
	for range r.IntN(6) {
		id, epoch := r.Int64(), int16(r.IntN(1<<15))
		for i := range r.IntN(2 * window) {
			b := record.NewBuilder(record.Offset(r.Int64N(1 << 50)))
			b.ProducerID, b.ProducerEpoch, b.BaseSequence = id, epoch, r.Int32()
			b.Control = i == 3
			for range 1 + r.IntN(3) {
				b.Add(r.Int64N(1<<45)-1, nil, nil)
			}
			batch, err := b.Build()
			if err != nil {
				panic(err) // the test's own mistake
			}
			s.producers.apply(batch.Header, r.Int32N(9)-1, r.Int64N(1<<45))
		}
	}
	for i := range r.IntN(4) {
		first := record.Offset(r.Int64N(1 << 40))
		s.transactions.aborted = append(s.transactions.aborted, abortedTxn{r.Int64(), first, first + record.Offset(i)<<41, first})
		if s.transactions.open == nil {
			s.transactions.open = map[int64]*transaction{}
		}
		txn := newTransaction(record.Offset(i)<<40, r.Int64N(1<<45))
		s.transactions.open[r.Int64()] = txn
		s.transactions.undecided = append(s.transactions.undecided, txn)
	}
	return s
}

func TestCheckpointRoundTrip(t *testing.T) {
	for seed := range uint64(200) {
		want := someState(seed)
		encoded := want.encode()
		var got state
		if err := got.decode(encoded); err != nil {
			t.Fatalf("seed %d: decode: %v", seed, err)
		}
		if !reflect.DeepEqual(&got, want) {
			t.Fatalf("seed %d: got %+v, want %+v", seed, got, want)
		}
		for n := range encoded {
			if err := new(state).decode(encoded[:n]); !errors.Is(err, errBadCheckpoint) {
				t.Fatalf("seed %d: decoding %d bytes of %d: %v", seed, n, len(encoded), err)
			}
		}
		if err := new(state).decode(append(encoded, 0)); !errors.Is(err, errBadCheckpoint) {
			t.Fatalf("seed %d: decoding one byte too many: %v", seed, err)
		}
	}
}

func TestCheckpointRefused(t *testing.T) {
	tests := []struct {
		name  string
		bytes []byte
	}{
		{"empty", nil},
		{"another version", []byte{1, 0, 0, 0, 0}},
		{"more epochs than bytes", []byte{3, 0xff, 0xff, 0xff, 0xff, 0x0f, 0}},
		{"more producers than bytes", []byte{3, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}},
		{"epochs that go back", []byte{3, 2, 4, 4, 2, 8, 0}},
		{"epochs at one offset", []byte{3, 2, 2, 4, 4, 4, 0}},
		{"a negative epoch", []byte{3, 1, 1, 0, 0}},
		{"six batches", append([]byte{3, 0, 1, 2, 0, 0, 0, 6}, make([]byte, 24)...)},
		{"a producer twice", []byte{3, 0, 2, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0}},
		{"an aborted transaction that ends before it begins", []byte{3, 0, 0, 0, 1, 2, 8, 1, 2}},
		{"one that begins below 0", []byte{3, 0, 0, 0, 1, 2, 8, 8, 2}},
		{"one that others were undecided behind", []byte{3, 0, 0, 0, 1, 2, 8, 2, 1}},
		{"a producer with two open transactions", []byte{3, 0, 0, 2, 2, 4, 8, 2, 6, 8, 0}},
		{"two transactions that begin at one offset", []byte{3, 0, 0, 2, 2, 4, 8, 4, 4, 8, 0}},
		{"markers that go back", []byte{3, 0, 0, 0, 2, 2, 8, 2, 2, 4, 0, 2, 2}},
		{"more transactions than bytes", []byte{3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}},
		{"a negative producer id", []byte{3, 0, 1, 1, 0, 0, 0, 0, 0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := new(state).decode(tt.bytes); !errors.Is(err, errBadCheckpoint) {
				t.Errorf("got %v, want errBadCheckpoint", err)
			}
		})
	}
}

func FuzzCheckpoint(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(someState(seed).encode())
	}
	f.Add([]byte{3, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s state
		if s.decode(b) != nil {
			return
		}
		// What was taken for a state is one: it says the same again.
		var again state
		if err := again.decode(s.encode()); err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%x is taken for %+v, which is encoded as another state: %v", b, s, err)
		}
	})
}

// runOfBatches returns the bytes of batches of all sizes, and their headers.
func runOfBatches(t *testing.T, sizes ...int) (run []byte, headers []record.Header) {
	t.Helper()
	next := record.Offset(0)
	for _, size := range sizes {
		b := record.NewBuilder(next)
		b.LeaderEpoch = int32(len(headers) / 3)
		b.Add(int64(len(headers)), nil, make([]byte, size))
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		run = append(run, batch.Bytes()...)
		headers = append(headers, batch.Header[:record.HeaderSize])
		next = batch.NextOffset()
	}
	return run, headers
}

// countingReader counts what is read of it.
type countingReader struct {
	*bytes.Reader
	bytes, calls int
}

func (r *countingReader) ReadAt(b []byte, off int64) (int, error) {
	r.calls++
	r.bytes += len(b)
	return r.Reader.ReadAt(b, off)
}

func TestScanner(t *testing.T) {
	small := make([]int, 3000)
	for i := range small {
		small[i] = i % 90
	}
	tests := []struct {
		name       string
		sizes      []int
		bytes      int // that may be read at most
		calls      int
		beforeFile int // bytes in the file before the chunk
	}{
		{"one", []int{10}, 200, 1, 0},
		{"small ones are read together", small, 1 << 20, 10, 777},
		{"big ones are skipped", []int{1 << 20, 1 << 20, 1 << 20}, 3 * minScanRead, 3, 1},
		{"mixed", []int{0, 5000, 3, 100_000, 1, 1, 70_000, 4000, 4096, 4097, 61}, 300_000, 12, 61},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run, want := runOfBatches(t, tt.sizes...)
			file := &countingReader{Reader: bytes.NewReader(append(make([]byte, tt.beforeFile), run...))}
			s := scanner{buf: make([]byte, maxScanRead)}
			i := 0
			next, err := s.headers(record.NewChunk(file, int64(tt.beforeFile), len(run), nil, nil), func(h record.Header, _ int64) {
				if i >= len(want) || !bytes.Equal(h[:record.HeaderSize], want[i]) {
					t.Fatalf("header %d is %v", i, h)
				}
				i++
			})
			if err != nil || i != len(want) || next != record.Offset(len(want)) {
				t.Errorf("got %d headers up to %d, %v, want %d", i, next, err, len(want))
			}
			if file.bytes > tt.bytes || file.calls > tt.calls {
				t.Errorf("read %d bytes in %d calls, want at most %d in %d", file.bytes, file.calls, tt.bytes, tt.calls)
			}
		})
	}
	t.Run("cut short", func(t *testing.T) {
		run, _ := runOfBatches(t, 10, 10)
		s := scanner{buf: make([]byte, maxScanRead)}
		chunk := record.NewChunk(bytes.NewReader(run[:len(run)-60]), 0, len(run), nil, nil)
		if _, err := s.headers(chunk, func(record.Header, int64) {}); !errors.Is(err, record.ErrShort) {
			t.Errorf("got %v, want ErrShort", err)
		}
	})
}

// damagedLog is a Log to replay, with stretches that cannot be read.
type damagedLog struct {
	Log
	run     []byte
	headers []record.Header
	bad     func(record.Offset) bool
}

func (l *damagedLog) Read(_ context.Context, from, to record.Offset, _ int, _ bool) (record.Chunk, error) {
	if l.bad(from) {
		return record.Chunk{}, fmt.Errorf("read: %w", &storage.CorruptError{Offset: from, Err: errors.New("bits have fallen over")})
	}
	pos := 0
	for _, h := range l.headers[:from] {
		pos += h.Size()
	}
	n := 0
	for at := from; at < to && !l.bad(at); at++ {
		n += l.headers[at].Size()
	}
	return record.NewChunk(bytes.NewReader(l.run), int64(pos), n, nil, nil), nil
}

func TestReplayBehindDamage(t *testing.T) {
	sizes := make([]int, 40)
	run, headers := runOfBatches(t, sizes...)
	tests := []struct {
		name     string
		from, to record.Offset // the damaged stretch
		want     epochs
	}{
		// Three batches to an epoch.
		{"none", 0, 0, epochs{{0, 0}, {1, 3}, {2, 6}, {3, 9}, {4, 12}, {5, 15}, {6, 18}, {7, 21}, {8, 24}, {9, 27}, {10, 30}, {11, 33}, {12, 36}, {13, 39}}},
		{"the beginning", 0, 38, epochs{{12, 38}, {13, 39}}},
		{"the end", 7, 40, epochs{{0, 0}, {1, 3}, {2, 6}}},
		{"one", 38, 39, epochs{{0, 0}, {1, 3}, {2, 6}, {3, 9}, {4, 12}, {5, 15}, {6, 18}, {7, 21}, {8, 24}, {9, 27}, {10, 30}, {11, 33}, {12, 36}, {13, 39}}},
		{"many", 4, 35, epochs{{0, 0}, {1, 3}, {11, 35}, {12, 36}, {13, 39}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log := &damagedLog{run: run, headers: headers, bad: func(at record.Offset) bool { return at >= tt.from && at < tt.to }}
			var s state
			if err := s.replay(context.Background(), log, 0, 40, 0); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(s.epochs, tt.want) {
				t.Errorf("got %v, want %v", s.epochs, tt.want)
			}
		})
	}
}
