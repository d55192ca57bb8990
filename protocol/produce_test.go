package protocol

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// viewed collects what the view shows into kmsg's type.
func viewed(version int16, r *ProduceRequest) *kmsg.ProduceRequest {
	out := kmsg.NewPtrProduceRequest()
	out.Version = version
	out.TransactionID = r.TransactionalID
	out.Acks = r.Acks
	out.TimeoutMillis = int32(r.Timeout / time.Millisecond)
	for t := range r.Topics() {
		topic := kmsg.ProduceRequestTopic{Topic: t.Name, TopicID: t.ID}
		for p := range t.Partitions() {
			topic.Partitions = append(topic.Partitions, kmsg.ProduceRequestTopicPartition{Partition: p.Index, Records: p.Records})
		}
		out.Topics = append(out.Topics, topic)
	}
	return out
}

func dropTags(r *kmsg.ProduceRequest) {
	r.UnknownTags = kmsg.Tags{}
	for i := range r.Topics {
		r.Topics[i].UnknownTags = kmsg.Tags{}
		for j := range r.Topics[i].Partitions {
			r.Topics[i].Partitions[j].UnknownTags = kmsg.Tags{}
		}
	}
}

func TestProduceViewShowsWhatKmsgSent(t *testing.T) {
	shape := shapeOf(int16(kmsg.Produce))
	for version := shape.min; version <= shape.max; version++ {
		f := newFiller(uint64(version))
		for range 100 {
			sent := f.request(shape, version).(*kmsg.ProduceRequest)
			body := sent.AppendTo(nil)
			view, err := ParseProduce(version, append(body, "junk"...))
			if err != nil {
				t.Fatalf("v%d: %v\n% x", version, err, body)
			}
			partitions := 0
			for _, topic := range sent.Topics {
				partitions += len(topic.Partitions)
			}
			if view.TopicCount() != len(sent.Topics) || view.PartitionCount() != partitions {
				t.Fatalf("v%d: counts %d topics, %d partitions", version, view.TopicCount(), view.PartitionCount())
			}
			dropTags(sent)
			if want, got := sent.AppendTo(nil), viewed(version, &view).AppendTo(nil); !bytes.Equal(got, want) {
				t.Fatalf("v%d:\ngot  % x\nwant % x", version, got, want)
			}
		}
	}
}

// produce returns the body of a request with the given counts of topics and of partitions in each of them.
func produce(version int16, topics, partitions int, records []byte) []byte {
	r := kmsg.NewPtrProduceRequest()
	r.Version, r.Acks = version, -1
	for range topics {
		topic := kmsg.ProduceRequestTopic{Topic: "topic", TopicID: [16]byte{1}}
		for i := range partitions {
			topic.Partitions = append(topic.Partitions, kmsg.ProduceRequestTopicPartition{Partition: int32(i), Records: records})
		}
		r.Topics = append(r.Topics, topic)
	}
	return r.AppendTo(nil)
}

func TestProduceViewDoesNotAllocate(t *testing.T) {
	for version, want := range map[int16]float64{3: 2, 9: 2, 13: 0} { // the names of two topics
		body := produce(version, 2, 50, make([]byte, 100))
		seen := 0
		got := testing.AllocsPerRun(100, func() {
			view, err := ParseProduce(version, body)
			if err != nil {
				t.Fatal(err)
			}
			for topic := range view.Topics() {
				for p := range topic.Partitions() {
					seen += len(p.Records)
				}
			}
		})
		if got != want {
			t.Errorf("v%d: %v allocations, want %v", version, got, want)
		}
		if seen != 101*100*100 { // AllocsPerRun warms up with one run more
			t.Errorf("v%d: saw %d bytes of records", version, seen)
		}
	}
}

func TestProduceViewStopsWhenAsked(t *testing.T) {
	view, err := ParseProduce(9, produce(9, 3, 3, []byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	var indexes []int32
	for topic := range view.Topics() {
		for p := range topic.Partitions() {
			if indexes = append(indexes, p.Index); p.Index == 1 {
				break
			}
		}
		if len(indexes) == 4 {
			break
		}
	}
	if !slices.Equal(indexes, []int32{0, 1, 0, 1}) {
		t.Error(indexes)
	}
}

func TestProduceRecordsHaveNoSpareCapacity(t *testing.T) {
	view, err := ParseProduce(9, produce(9, 1, 2, []byte("batch")))
	if err != nil {
		t.Fatal(err)
	}
	for topic := range view.Topics() {
		for p := range topic.Partitions() {
			if cap(p.Records) != len(p.Records) {
				t.Fatal("an append to the records would write over the request")
			}
		}
	}
}

func TestProduceRefusals(t *testing.T) {
	whole := produce(9, 2, 2, []byte("batch"))
	tiny := func(topics, partitions int) []byte { return produce(13, topics, partitions, nil) }
	for name, test := range map[string]struct {
		version int16
		body    []byte
		is      error
		says    string
	}{
		"version 2":             {2, produce(3, 1, 1, nil), ErrUnsupported, "Produce v2"},
		"version 14":            {14, produce(13, 1, 1, nil), ErrUnsupported, "Produce v14"},
		"empty":                 {3, nil, ErrMalformed, "needs 2 bytes, 0 are left"},
		"topics null":           {9, []byte("\x00\x00\x01\x00\x00\x00\x01\x00\x00"), ErrMalformed, "null where"},
		"topics too many":       {9, []byte("\x00\x00\x01\x00\x00\x00\x01\x63\x00"), ErrMalformed, "count 98 exceeds the 1 bytes"},
		"name null":             {9, []byte("\x00\x00\x01\x00\x00\x00\x01\x02\x00\x01\x00\x00"), ErrMalformed, "at TopicData[0]: malformed: null"},
		"partitions null":       {9, []byte("\x00\x00\x01\x00\x00\x00\x01\x02\x02a\x00\x00\x00"), ErrMalformed, "at TopicData[0]: malformed: null"},
		"partition cut":         {9, whole[:len(whole)-5], ErrMalformed, "at TopicData[1].PartitionData[1]: malformed: needs"},
		"records wrap":          {9, []byte("\x00\x00\x01\x00\x00\x00\x01\x02\x02a\x02\x00\x00\x00\x00\xff\xff\xff\xff\x0f\x00\x00\x00"), ErrMalformed, "at TopicData[0].PartitionData[0]: malformed: length 4294967295"},
		"tags of partition lie": {9, []byte("\x00\x00\x01\x00\x00\x00\x01\x02\x02a\x02\x00\x00\x00\x00\x00\xff\xff\xff\xff\x0f\x00"), ErrMalformed, "tagged fields 4294967295"},
		"tags of request lie":   {9, []byte("\x00\x00\x01\x00\x00\x00\x01\x01\xff\xff\xff\xff\x0f\x00"), ErrMalformed, "request: malformed: count of tagged fields"},
		"partitions of 6 bytes": {13, tiny(1, 20_000), ErrTooLarge, "at TopicData[0]: too large"},
		"smallest batches":      {13, produce(13, 20, 1000, make([]byte, 61)), nil, ""},
		"over the absolute cap": {13, produce(13, 400, 1000, make([]byte, 61)), ErrTooLarge, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseProduce(test.version, test.body)
			if test.is == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var refused *RequestError
			if !errors.As(err, &refused) || !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want it to say %q", err, test.says)
			}
		})
	}
}

func BenchmarkProduceView(b *testing.B) {
	body := produce(9, 1, 100, make([]byte, 1000))
	b.ReportAllocs()
	for b.Loop() {
		view, err := ParseProduce(9, body)
		if err != nil {
			b.Fatal(err)
		}
		for topic := range view.Topics() {
			for range topic.Partitions() {
			}
		}
	}
}
