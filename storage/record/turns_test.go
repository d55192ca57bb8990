package record_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"segue/storage/record"
)

// built returns a batch with so many bytes of zeros in one record.
func built(t *testing.T, codec record.Codec, size int) record.Batch {
	t.Helper()
	b := record.NewBuilder(0)
	b.Compression.Codec, b.Compressor = codec, new(record.Compressor)
	b.Add(1, nil, make([]byte, size))
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// Only so many batches are unpacked at a time, however a walk ends, and batches that are not compressed need no turn.
func TestTurns(t *testing.T) {
	for _, codec := range []record.Codec{record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		synctest.Test(t, func(t *testing.T) {
			d := record.NewDecompressorWithTurns(1<<20, 2)
			sound, large := built(t, codec, 1000), built(t, codec, 2<<20)
			var inside [3]bool
			leave := make(chan struct{})
			done := make(chan struct{}, len(inside))
			for i := range inside {
				go func() {
					for range sound.Records(d) {
						inside[i] = true
						<-leave
						break // a walk that is not finished gives its turn back too
					}
					done <- struct{}{}
				}()
				synctest.Wait()
			}
			if inside != [3]bool{true, true, false} {
				t.Errorf("%v: %v are unpacked at a time, want two", codec, inside)
			}
			if _, err := built(t, record.None, 10).Check(d); err != nil {
				t.Error(err)
			}
			close(leave)
			for range inside {
				<-done
			}
			for range 5 { // and so do those that fail
				if _, err := large.Check(d); !errors.Is(err, record.ErrTooLarge) {
					t.Errorf("%v: %v", codec, err)
				}
			}
			if _, err := sound.Check(d); err != nil {
				t.Error(err)
			}
		})
	}
}

// Records that are put together again may take a quarter of the limit.
func TestRecompressShare(t *testing.T) {
	d, c := record.NewDecompressor(1<<20), new(record.Compressor)
	for _, codec := range []record.Codec{record.Gzip, record.Snappy, record.LZ4} {
		for size, fits := range map[int]bool{1<<18 - 100: true, 1<<18 + 1: false} {
			_, err := built(t, codec, size).Recompress(record.Compression{Codec: record.Zstd}, c, d)
			if fits && err != nil || !fits && !errors.Is(err, record.ErrTooLarge) {
				t.Errorf("%v, %d bytes: %v", codec, size, err)
			}
		}
	}
}
