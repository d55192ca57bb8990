package record_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"segue/storage/record"
)

func TestChunkAppendTo(t *testing.T) {
	file := strings.NewReader("0123456789")
	for _, c := range []struct {
		name   string
		offset int64
		n      int
		want   string
		err    error
	}{
		{"middle", 2, 3, "234", nil},
		{"to the end", 7, 3, "789", nil},
		{"nothing", 7, 0, "", nil},
		{"over the end", 8, 3, "", io.ErrUnexpectedEOF},
		{"behind the end", 20, 3, "", io.ErrUnexpectedEOF},
	} {
		for _, dst := range [][]byte{nil, []byte("ab"), append(make([]byte, 0, 100), "ab"...)} {
			got, err := record.NewChunk(file, c.offset, c.n, nil, nil).AppendTo(dst)
			if !errors.Is(err, c.err) || string(got) != string(dst)+c.want {
				t.Errorf("%s onto %q: got %q, error %v", c.name, dst, got, err)
			}
		}
	}
}

// failingReader fails every read, as a damaged disk does.
type failingReader struct{ err error }

func (r failingReader) ReadAt([]byte, int64) (int, error) { return 0, r.err }

func TestChunkReadError(t *testing.T) {
	broken := errors.New("broken disk")
	got, err := record.NewChunk(failingReader{broken}, 0, 3, nil, nil).AppendTo([]byte("ab"))
	if !errors.Is(err, broken) || !bytes.Equal(got, []byte("ab")) {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestChunkReleasesOnce(t *testing.T) {
	n := 0
	c := record.NewChunk(nil, 0, 0, nil, func() { n++ })
	other := c
	if n != 0 {
		t.Fatal("released at once")
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(c.Release)
		wg.Go(other.Release)
	}
	wg.Wait()
	if n != 1 {
		t.Errorf("released %d times", n)
	}
	record.Chunk{}.Release()
	record.NewChunk(nil, 0, 0, nil, nil).Release()
	if got, err := (record.Chunk{}).AppendTo([]byte("ab")); string(got) != "ab" || err != nil {
		t.Errorf("the zero Chunk holds %q, error %v", got, err)
	}
}
