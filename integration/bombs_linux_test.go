//go:build integration

package integration

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// bomb is a batch of so many records, by its header, whose compressed records unpack to far more than it has bytes.
func bomb(t testing.TB, codec record.Codec, count int32, payload []byte) record.Batch {
	t.Helper()
	b := slices.Clone(batchOf(t, "x").Bytes()[:record.HeaderSize])
	b = append(b, payload...)
	now := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint16(b[21:], uint16(codec))
	binary.BigEndian.PutUint32(b[23:], uint32(count-1))
	binary.BigEndian.PutUint64(b[27:], now-1000)
	binary.BigEndian.PutUint64(b[35:], now)
	binary.BigEndian.PutUint32(b[57:], uint32(count))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	batch, _, err := record.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// zstdBomb unpacks to so many bytes of zeros, at four bytes for 128 KiB.
func zstdBomb(bytes int) []byte {
	const block = 128 << 10
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58} // a frame with a window of 2 MiB, of no stated size
	for n := max(bytes/block, 1); n > 0; n-- {
		h := uint32(block)<<3 | 1<<1 // repeat a byte
		if n == 1 {
			h |= 1
		}
		b = append(b, byte(h), byte(h>>8), byte(h>>16), 0)
	}
	return b
}

// gzipBomb unpacks to some bytes and then so many MiB of zeros.
func gzipBomb(t testing.TB, first []byte, mib int) []byte {
	var b bytes.Buffer
	fillBomb(t, gzip.NewWriter(&b), first, mib)
	return b.Bytes()
}

// lz4Bomb does the same.
func lz4Bomb(t testing.TB, first []byte, mib int) []byte {
	var b bytes.Buffer
	fillBomb(t, lz4.NewWriter(&b), first, mib)
	return b.Bytes()
}

func fillBomb(t testing.TB, w io.WriteCloser, first []byte, mib int) {
	w.Write(first) // into memory
	zeros := make([]byte, 1<<20)
	for range mib {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// snappyBomb is a bare block that says it unpacks to so many bytes, and does so by copying what went before.
func snappyBomb(size int) []byte {
	b := binary.AppendUvarint(nil, uint64(size))
	b = append(b, 0, 0) // one zero
	for left := size - 1; left > 0; {
		n := min(left, 64)
		b = append(b, byte(n-1)<<2|2, 1, 0) // copy n bytes from one before
		left -= n
	}
	return b
}

// TestBombs: batches that unpack to gigabytes are refused where the broker has to look inside, and do no harm where it
// has not; nor do many at a time.
func TestBombs(t *testing.T) {
	b, g := startConfined(t)
	good := b.goodClient(t)
	good.median()
	before := good.median()
	b.createTopic(t, "stored", 1)
	b.createTopic(t, "compacted", 1, "cleanup.policy", "compact")
	b.createTopic(t, "recompressed", 1, "compression.type", "gzip")
	b.createTopic(t, "uncompressed", 1, "compression.type", "uncompressed")

	many := bytes.Repeat([]byte{14, 0, 0, 0, 1, 1, 0, 0}, 1<<10) // records of no key and no value, offset delta 0
	var tiny bytes.Buffer
	w := gzip.NewWriter(&tiny)
	for range 32 << 10 { // 256 MiB of them
		if _, err := w.Write(many); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	large := binary.AppendVarint(nil, 2_000_000_000) // a record of that many bytes: attributes, deltas, an empty key, the value
	large = append(large, 0, 0, 0, 0)
	large = binary.AppendVarint(large, 2_000_000_000-10)
	var nested bytes.Buffer
	w = gzip.NewWriter(&nested)
	w.Write(gzipBomb(t, nil, 500))
	w.Close()
	bombs := []struct {
		name  string
		batch record.Batch
	}{
		{"zstd of 10 GiB", bomb(t, record.Zstd, 100, zstdBomb(10<<30))},
		{"gzip of 1 GiB", bomb(t, record.Gzip, 100, gzipBomb(t, nil, 1000))},
		{"gzip of 900 MiB in one record", bomb(t, record.Gzip, 1, gzipBomb(t, large, 900))},
		{"lz4 of 200 MiB in one record", bomb(t, record.LZ4, 1, lz4Bomb(t, large, 200))},
		{"snappy of 20 MiB", bomb(t, record.Snappy, 100, snappyBomb(20<<20))},
		{"snappy that claims 2 GiB", bomb(t, record.Snappy, 100, append(binary.AppendUvarint(nil, 2<<30), 0, 0))},
		{"gzip in gzip", bomb(t, record.Gzip, 100, nested.Bytes())},
		{"2^31 records", bomb(t, record.Zstd, 1<<31-1, zstdBomb(10<<30))},
		{"2^25 records of one place", bomb(t, record.Gzip, 1<<25, tiny.Bytes())},
	}
	for _, bomb := range bombs {
		batch := bomb.batch
		t.Run(bomb.name, func(t *testing.T) {
			good.w.t = t
			w := b.dial(t)
			for topic, refused := range map[string]bool{"compacted": true, "recompressed": batch.Codec() != record.Gzip, "uncompressed": true, "stored": false} {
				var p kmsg.ProduceResponseTopicPartition
				took := elapsed(func() {
					p = ask[*kmsg.ProduceResponse](w, produceRequest(topic, 0, -1, batch)).Topics[0].Partitions[0]
				})
				err := kerr.ErrorForCode(p.ErrorCode)
				t.Logf("%d bytes to %s: %v after %v", batch.Size(), topic, err, took)
				if (err != nil) != refused || err != nil && err != kerr.MessageTooLarge && err != kerr.InvalidRecord {
					t.Errorf("to %s: %v", topic, err)
				}
				if took > prompt {
					t.Errorf("to %s: after %v", topic, took)
				}
			}
		})
	}
	good.w.t = t
	b.survived(g)

	// All at once: everybody asks for the time that only a look inside tells, and others write.
	first := kmsg.NewRequestFormatter().AppendRequest(nil, listRequest("stored", time.Now().Add(-500*time.Millisecond).UnixMilli()), 1)
	attack := b.attack(t, 100, func(a *attackers, c net.Conn) error {
		if err := a.send(c, first); err != nil {
			return err
		}
		return a.untilClosed(c)
	})
	produceAll := b.attack(t, 20, func(a *attackers, c net.Conn) error {
		formatter := kmsg.NewRequestFormatter()
		for _, bomb := range bombs {
			if err := a.send(c, formatter.AppendRequest(nil, produceRequest("compacted", 0, 1, bomb.batch), 1)); err != nil {
				return err
			}
		}
		return nil
	})
	attack.pause(2 * time.Second)
	good.undisturbed("bombs", before)
	attack.stop()
	produceAll.stop()
	b.survived(g)

	// What is asked is answered: with what can be found, or with an error that no client takes for a passing one.
	resp := ask[*kmsg.ListOffsetsResponse](b.dial(t), listRequest("stored", 1)).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(resp.ErrorCode); err != kerr.MessageTooLarge {
		t.Errorf("the offset for a time: %d, %v", resp.Offset, err)
	}
	t.Logf("the offset for a time: %d, %v", resp.Offset, kerr.ErrorForCode(resp.ErrorCode))
	b.survived(g)
}

// listRequest asks for the first offset at or after a time.
func listRequest(topic string, unixMilli int64) *kmsg.ListOffsetsRequest {
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp = unixMilli
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID, req.Topics = 7, -1, append(req.Topics, t)
	return req
}
