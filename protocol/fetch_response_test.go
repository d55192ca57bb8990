package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// fetchFiller fills kmsg's response with what Kafka's definition allows at the version, and no unknown tags.
func fetchFiller(f *filler, version int16) *kmsg.FetchResponse {
	r := kmsg.NewPtrFetchResponse()
	f.fill(reflect.ValueOf(r).Elem(), 0)
	r.Version = version
	r.UnknownTags = kmsg.Tags{}
	if version < endpointsFetch {
		r.Brokers = nil
	}
	for i := range r.Brokers {
		r.Brokers[i].UnknownTags = kmsg.Tags{}
	}
	for i := range r.Topics {
		r.Topics[i].UnknownTags = kmsg.Tags{}
		for j := range r.Topics[i].Partitions {
			p := &r.Topics[i].Partitions[j]
			p.UnknownTags, p.DivergingEpoch.UnknownTags = kmsg.Tags{}, kmsg.Tags{}
			p.CurrentLeader.UnknownTags, p.SnapshotID.UnknownTags = kmsg.Tags{}, kmsg.Tags{}
			for k := range p.AbortedTransactions {
				p.AbortedTransactions[k].UnknownTags = kmsg.Tags{}
			}
			if f.IntN(2) == 0 {
				p.DivergingEpoch = kmsg.NewFetchResponseTopicPartitionDivergingEpoch()
			}
			if f.IntN(2) == 0 {
				p.CurrentLeader = kmsg.NewFetchResponseTopicPartitionCurrentLeader()
			}
			if f.IntN(2) == 0 {
				p.SnapshotID = kmsg.NewFetchResponseTopicPartitionSnapshotID()
			}
			p.RecordBatches = make([]byte, f.IntN(3)*f.IntN(200))
			for k := range p.RecordBatches {
				p.RecordBatches[k] = byte(f.Uint32())
			}
		}
	}
	return r
}

// releases counts how often each chunk was released.
type releases map[int]int

// ofKmsg turns kmsg's response into ours, with the records in chunks of one file.
func ofKmsg(r *kmsg.FetchResponse, count releases) *FetchResponse {
	out := &FetchResponse{ThrottleMillis: r.ThrottleMillis, Err: r.ErrorCode, SessionID: r.SessionID}
	for _, n := range r.Brokers {
		out.Nodes = append(out.Nodes, NodeEndpoint{n.NodeID, n.Host, n.Port, n.Rack})
	}
	for _, t := range r.Topics {
		topic := FetchTopic{Name: t.Topic, ID: t.TopicID}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, partitionOfKmsg(p, count))
		}
		out.Topics = append(out.Topics, topic)
	}
	return out
}

func partitionOfKmsg(p kmsg.FetchResponseTopicPartition, count releases) FetchPartition {
	out := NewFetchPartition(p.Partition, p.ErrorCode)
	out.HighWatermark, out.LastStable, out.LogStart = p.HighWatermark, p.LastStableOffset, p.LogStartOffset
	out.PreferredReadReplica = p.PreferredReadReplica
	if p.AbortedTransactions != nil {
		out.Aborted = []AbortedTransaction{}
	}
	for _, a := range p.AbortedTransactions {
		out.Aborted = append(out.Aborted, AbortedTransaction{a.ProducerID, a.FirstOffset})
	}
	if d := p.DivergingEpoch; d.Epoch != -1 || d.EndOffset != -1 {
		out.Diverging = &EpochEnd{Epoch: d.Epoch, EndOffset: d.EndOffset}
	}
	if l := p.CurrentLeader; l.LeaderID != -1 || l.LeaderEpoch != -1 {
		out.CurrentLeader = &LeaderEpoch{LeaderID: l.LeaderID, LeaderEpoch: l.LeaderEpoch}
	}
	if s := p.SnapshotID; s.Epoch != -1 || s.EndOffset != -1 {
		out.Snapshot = &EpochEnd{Epoch: s.Epoch, EndOffset: s.EndOffset}
	}
	file := append([]byte("before"), p.RecordBatches...)
	chunk := len(count)
	count[chunk] = 0
	out.Chunk = record.NewChunk(bytes.NewReader(file), 6, len(p.RecordBatches), nil, func() { count[chunk]++ })
	return out
}

// joined returns the parts as what goes over the wire.
func joined(t *testing.T, parts []Part) []byte {
	t.Helper()
	var frame []byte
	for _, p := range parts {
		if p.Len() == 0 || len(p.Bytes) > 0 && p.Chunk.Length > 0 {
			t.Fatalf("a part with %d bytes and a chunk of %d", len(p.Bytes), p.Chunk.Length)
		}
		frame = append(frame, p.Bytes...)
		var err error
		if frame, err = p.Chunk.AppendTo(frame); err != nil {
			t.Fatal(err)
		}
	}
	return frame
}

func TestFetchResponseIsWhatKmsgEncodes(t *testing.T) {
	for version := int16(minFetch); version <= maxFetch; version++ {
		f := newFiller(uint64(version))
		h := Header{Key: int16(kmsg.Fetch), Version: version, CorrelationID: 77}
		for range 100 {
			want := fetchFiller(f, version)
			count := releases{}
			response := ofKmsg(want, count)
			if version < endpointsFetch {
				response.Nodes = []NodeEndpoint{{NodeID: 1, Host: "not for this version"}}
			}
			parts, size, err := response.Parts(h)
			if err != nil {
				t.Fatal(err)
			}
			frame := joined(t, parts)
			if size != len(frame) || int(binary.BigEndian.Uint32(frame)) != size-PrefixSize {
				t.Fatalf("v%d: frame has %d bytes, was said to have %d, says %x", version, len(frame), size, frame[:4])
			}
			if kmsgs := AppendResponse(nil, h, want); !bytes.Equal(frame, kmsgs) {
				t.Fatalf("v%d:\ngot  % x\nwant % x", version, frame, kmsgs)
			}
			checkFetchDecodes(t, version, frame)
			response.Release()
			response.Release()
			for chunk, n := range count {
				if n != 1 {
					t.Fatalf("v%d: chunk %d was released %d times", version, chunk, n)
				}
			}
			for _, topic := range response.Topics {
				for _, p := range topic.Partitions {
					if p.Chunk.Length != 0 {
						t.Fatalf("v%d: a released chunk is still in the response", version)
					}
				}
			}
		}
	}
}

// checkFetchDecodes has kmsg's decoder take the frame to its last byte and no records be null.
func checkFetchDecodes(t *testing.T, version int16, frame []byte) {
	t.Helper()
	body := frame[PrefixSize+4:]
	if version >= flexibleFetch {
		body = body[1:]
	}
	got := kmsg.NewPtrFetchResponse()
	got.Version = version
	if err := got.ReadFrom(body); err != nil {
		t.Fatalf("v%d: %v", version, err)
	}
	if again := got.AppendTo(nil); !bytes.Equal(again, body) {
		t.Fatalf("v%d:\ngot  % x\nwant % x", version, again, body)
	}
	for _, topic := range got.Topics {
		for _, p := range topic.Partitions {
			if p.RecordBatches == nil {
				t.Fatalf("v%d: records are null", version)
			}
		}
	}
}

func TestFetchResponseOfErrors(t *testing.T) {
	response := &FetchResponse{Topics: []FetchTopic{{Name: "a", Partitions: []FetchPartition{NewFetchPartition(3, 1)}}}}
	parts, size, err := response.Parts(Header{Key: 1, Version: 11, CorrelationID: 5})
	if err != nil || len(parts) != 1 {
		t.Fatal(len(parts), err)
	}
	want := "\x00\x00\x00\x43" + "\x00\x00\x00\x05" + // size, correlation id
		"\x00\x00\x00\x00" + "\x00\x00" + "\x00\x00\x00\x00" + // throttle, error, session
		"\x00\x00\x00\x01" + "\x00\x01a" + "\x00\x00\x00\x01" + // topics, name, partitions
		"\x00\x00\x00\x03" + "\x00\x01" + // partition, OFFSET_OUT_OF_RANGE
		"\xff\xff\xff\xff\xff\xff\xff\xff" + "\xff\xff\xff\xff\xff\xff\xff\xff" + "\xff\xff\xff\xff\xff\xff\xff\xff" +
		"\xff\xff\xff\xff" + "\xff\xff\xff\xff" + // no aborted transactions, no preferred replica
		"\x00\x00\x00\x00" // records: empty, not null
	if got := string(joined(t, parts)); got != want || size != len(want) {
		t.Errorf("got  % x\nwant % x", got, want)
	}
}

func TestFetchResponseRefusals(t *testing.T) {
	for version, r := range map[int16]*FetchResponse{3: {}, 19: {}} {
		if _, _, err := r.Parts(Header{Key: 1, Version: version}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("v%d: %v", version, err)
		}
	}
	huge := NewFetchPartition(0, 0)
	huge.Chunk = record.NewChunk(nil, 0, 1<<30, nil, nil)
	r := &FetchResponse{Topics: []FetchTopic{{Partitions: []FetchPartition{huge, huge}}}}
	if _, _, err := r.Parts(Header{Key: 1, Version: 12}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("two GiB: %v", err)
	}
}

// A response takes three allocations (bytes, cuts, parts), however many partitions it has.
func TestFetchResponseAllocations(t *testing.T) {
	response := &FetchResponse{Topics: []FetchTopic{{Name: "topic"}}}
	file := bytes.NewReader(make([]byte, 10))
	for i := range int32(1000) {
		p := NewFetchPartition(i, 0)
		p.Chunk = record.NewChunk(file, 0, 10, nil, nil)
		response.Topics[0].Partitions = append(response.Topics[0].Partitions, p)
	}
	got := testing.AllocsPerRun(10, func() {
		if _, _, err := response.Parts(Header{Key: 1, Version: 12}); err != nil {
			t.Fatal(err)
		}
	})
	if got > 3 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkFetchResponse(b *testing.B) {
	response := &FetchResponse{Topics: []FetchTopic{{Name: "topic"}}}
	file := bytes.NewReader(make([]byte, 10))
	for i := range int32(100) {
		p := NewFetchPartition(i, 0)
		p.Chunk = record.NewChunk(file, 0, 10, nil, nil)
		response.Topics[0].Partitions = append(response.Topics[0].Partitions, p)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := response.Parts(Header{Key: 1, Version: 12}); err != nil {
			b.Fatal(err)
		}
	}
}
