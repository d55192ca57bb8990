//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"segue/storage/record"
)

// load is work for several connections at once. Its requests are encoded before the clock runs.
type load struct {
	addr     string
	streams  []stream // one for each connection
	window   int      // requests in flight on each connection
	requests int      // on each connection
	// judge looks at an answer, behind its length, and returns how many bytes of batches it stands for. Nil takes all
	// that comes, and counts frames as bytes.
	judge func(answer []byte) (int, error)
}

// stream is what one connection sends: the frames one after the other, again and again.
type stream [][]byte

// outcome is what a load came to.
type outcome struct {
	took     time.Duration
	requests int
	bytes    int64           // of batches
	waits    []time.Duration // between each request and its answer, ascending
}

// rate is in MiB a second.
func (o outcome) rate() float64 { return float64(o.bytes) / (1 << 20) / o.took.Seconds() }

// gib is how many GiB went.
func (o outcome) gib() float64 { return float64(o.bytes) / (1 << 30) }

// median is the median wait in microseconds.
func (o outcome) median() float64 {
	return float64(o.waits[len(o.waits)/2].Nanoseconds()) / 1e3
}

// run puts the load on.
func (l load) run(ctx context.Context) (outcome, error) {
	var bytes atomic.Int64
	clients := make([]*player, len(l.streams))
	for i := range clients {
		conn, err := net.Dial("tcp", l.addr)
		if err != nil {
			return outcome{}, err
		}
		defer conn.Close()
		clients[i] = &player{load: &l, conn: conn, frames: l.streams[i], waits: make([]time.Duration, 0, l.requests)}
	}
	end := context.AfterFunc(ctx, func() {
		for _, c := range clients {
			c.conn.Close()
		}
	})
	defer end()
	began := time.Now()
	var group errgroup.Group
	for _, c := range clients {
		group.Go(func() error {
			n, err := c.play()
			bytes.Add(n)
			return err
		})
	}
	err := group.Wait()
	o := outcome{took: time.Since(began), requests: l.requests * len(l.streams), bytes: bytes.Load()}
	for _, c := range clients {
		o.waits = append(o.waits, c.waits...)
	}
	slices.Sort(o.waits)
	return o, err
}

// player is one connection of a load.
type player struct {
	load   *load
	conn   net.Conn
	frames stream
	sent   int
	begun  []time.Time // when those in flight were sent
	waits  []time.Duration
	buf    []byte // of answers; from begin to end is not looked at yet
	begin  int
	end    int
}

func (p *player) play() (bytes int64, err error) {
	if err := p.send(p.load.window); err != nil {
		return 0, err
	}
	for len(p.waits) < p.load.requests {
		n := 0
		for { // all answers that are there, before anything is sent
			answer, err := p.next(n == 0)
			if err != nil {
				return bytes, err
			}
			if answer == nil {
				break
			}
			p.waits = append(p.waits, time.Since(p.begun[n]))
			worth := len(p.frames[(len(p.waits)-1)%len(p.frames)])
			if p.load.judge != nil {
				if worth, err = p.load.judge(answer); err != nil {
					return bytes, err
				}
			}
			bytes += int64(worth)
			n++
		}
		p.begun = p.begun[n:]
		if err := p.send(n); err != nil {
			return bytes, err
		}
	}
	return bytes, nil
}

// send sends the next n frames, or what is left of the load.
func (p *player) send(n int) error {
	n = min(n, p.load.requests-p.sent)
	if n == 0 {
		return nil
	}
	out := make(net.Buffers, 0, n)
	for range n {
		out = append(out, p.frames[p.sent%len(p.frames)])
		p.begun = append(p.begun, time.Now())
		p.sent++
	}
	_, err := out.WriteTo(p.conn)
	return err
}

// next returns the next answer behind its length, valid until the next call. It waits for one, or returns nil.
func (p *player) next(wait bool) ([]byte, error) {
	for {
		if p.end-p.begin >= 4 {
			size := 4 + int(binary.BigEndian.Uint32(p.buf[p.begin:]))
			if p.end-p.begin >= size {
				answer := p.buf[p.begin+4 : p.begin+size]
				p.begin += size
				return answer, nil
			}
			if len(p.buf) < size {
				p.buf = append(p.buf, make([]byte, size)...)
			}
		}
		if !wait {
			return nil, nil
		}
		if p.begin > 0 {
			p.begin, p.end = 0, copy(p.buf, p.buf[p.begin:p.end])
		}
		if p.buf == nil {
			p.buf = make([]byte, 64<<10)
		}
		n, err := p.conn.Read(p.buf[p.end:])
		p.end += n
		if err != nil {
			return nil, err
		}
	}
}

// batchOf returns a batch of records that fill about so many bytes, and how many there are. No two values are alike.
func batchOf(bytes, recordSize int) (record.Batch, int, error) {
	b := record.NewBuilder(0)
	value := make([]byte, recordSize)
	for i := range value {
		value[i] = byte('a' + i%23)
	}
	now := time.Now().UnixMilli()
	for n := 0; ; n++ {
		binary.BigEndian.PutUint32(value, uint32(n))
		if n > 0 && b.Size()+recordSize+16 > bytes {
			break
		}
		b.Add(now, nil, value)
	}
	batch, err := b.Build()
	return batch, b.Count(), err
}

// produceFrame is a Produce of the same batch to some partitions of the topic.
func produceFrame(topic string, batch []byte, partitions ...int32) []byte {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 11, -1, 30_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	for _, p := range partitions {
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = p, batch
		t.Partitions = append(t.Partitions, part)
	}
	req.Topics = append(req.Topics, t)
	return encode(req)
}

// judgeProduce takes answers to Produce for batches of that size in all.
func judgeProduce(size int) func([]byte) (int, error) {
	return func(answer []byte) (int, error) {
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = 11
		if err := resp.ReadFrom(answer[5:]); err != nil {
			return 0, err
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return 0, fmt.Errorf("produce to %s-%d: %w", t.Topic, p.Partition, err)
				}
			}
		}
		return size, nil
	}
}

// fetchFrame asks for up to bytes of one partition from an offset on.
func fetchFrame(topic string, partition int32, offset int64, bytes int32) []byte {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.SessionEpoch, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 12, -1, 500, 1, bytes
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, bytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return encode(req)
}

var errEmpty = errors.New("a fetch brought nothing")

// judgeFetch takes answers to Fetch, which have to bring something, without a look at the records.
func judgeFetch(answer []byte) (int, error) {
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = 12
	if err := resp.ReadFrom(answer[5:]); err != nil {
		return 0, err
	}
	n := 0
	err := kerr.ErrorForCode(resp.ErrorCode)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			err = errors.Join(err, kerr.ErrorForCode(p.ErrorCode))
			n += len(p.RecordBatches)
		}
	}
	if err == nil && n == 0 {
		err = errEmpty
	}
	return n, err
}
