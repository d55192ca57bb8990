//go:build integration && unix

package clients

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// produce: what the client writes in a codec arrives in batches of that codec, and is what was to be written.
func (s *session) produce(codec int) {
	const count, size = 300, 200
	topic := s.topic(1)
	s.do("produce", "topic="+topic, "codec="+codecs[codec].name, fmt.Sprint("count=", count), fmt.Sprint("size=", size))
	s.produced(topic, count, size)
	batches, bytes := s.batches(topic, 0), 0
	for _, b := range batches {
		if got := int(b.Attributes & 7); got != codec {
			s.t.Fatalf("the batch at %d arrives in codec %d, want %d (%s)", b.FirstOffset, got, codec, codecs[codec].name)
		}
		bytes += len(b.Records)
	}
	if n := len(batches); n > count/2 {
		s.t.Errorf("%d records come in %d batches, want batches of many", count, n)
	}
	if codec != 0 && bytes > count*size*3/4 {
		s.t.Errorf("%d bytes arrive of %d: that is not compressed", bytes, count*size)
	}
}

// produced expects the records that produce is to write, and nothing else.
func (s *session) produced(topic string, count, size int) {
	s.t.Helper()
	records := s.read(topic)[0]
	if len(records) != count {
		s.t.Fatalf("%d records arrive, want %d", len(records), count)
	}
	for i, r := range records {
		want := map[string]string{"n": strconv.Itoa(i)}
		if s.c.headless {
			want = headers(r)
		}
		if r.Offset != int64(i) || string(r.Key) != fmt.Sprint("k", i) || string(r.Value) != padded(i, size) || !maps.Equal(headers(r), want) {
			s.t.Fatalf("record %d: at %d there is %q: %s, headers %v", i, r.Offset, r.Key, short(string(r.Value)), headers(r))
		}
		if age := time.Since(r.Timestamp); age < -time.Minute || age > 10*time.Minute {
			s.t.Fatalf("record %d is of %v", i, r.Timestamp)
		}
	}
}

// consume: the client reads what another one has written, in all codecs that it has.
func (s *session) consume() {
	topic := s.topic(2)
	begun := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	count := 0
	for codec := range codecs {
		if slices.Contains(s.c.lacks, "produce-"+codecs[codec].name) {
			continue
		}
		var records []*kgo.Record
		for range 50 {
			records = append(records, &kgo.Record{
				Partition: int32(count % 2), Key: fmt.Append(nil, "k", count), Value: []byte(padded(count, 100)),
				Headers:   []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, count)}},
				Timestamp: begun.Add(time.Duration(count) * time.Second),
			})
			count++
		}
		s.write(codec, topic, records...)
	}
	got := s.do("consume", "topic="+topic, fmt.Sprint("count=", count)).records()
	s.same(topic, count, got)
}

// same expects all records of a topic, each once and each partition's in order.
func (s *session) same(topic string, count int, got []line) {
	s.t.Helper()
	if len(got) != count {
		s.t.Errorf("it has read %d records, want %d", len(got), count)
	}
	there, next := s.read(topic), map[int32]int64{}
	for _, l := range got {
		offset := next[l.Partition]
		next[l.Partition]++
		if l.Offset != offset || offset >= int64(len(there[l.Partition])) {
			s.t.Fatalf("of partition %d it has read the record at %d, want %d", l.Partition, l.Offset, offset)
		}
		r := there[l.Partition][offset]
		if l.Key != string(r.Key) || l.Value != string(r.Value) || l.Timestamp != r.Timestamp.UnixMilli() ||
			!maps.Equal(l.Headers, headers(r)) {
			s.t.Fatalf("at %d-%d it has read %q: %s of %d, headers %v; want %q: %s of %d, headers %v", l.Partition, l.Offset, l.Key,
				short(l.Value), l.Timestamp, l.Headers, r.Key, short(string(r.Value)), r.Timestamp.UnixMilli(), headers(r))
		}
	}
}

// seek: the client finds the first record at or after a time in each partition.
func (s *session) seek() {
	const count = 100
	topic := s.topic(2)
	begun := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	var records []*kgo.Record
	for i := range count {
		for p := range 2 {
			records = append(records, &kgo.Record{
				Partition: int32(p), Value: fmt.Append(nil, i), Timestamp: begun.Add(time.Duration(i*(p+1)) * time.Second),
			})
		}
	}
	s.write(0, topic, records...)
	at := begun.Add(49_500 * time.Millisecond)
	got := s.do("seek", "topic="+topic, fmt.Sprint("timestamp=", at.UnixMilli())).records()
	found := map[int32]int64{}
	for _, l := range got {
		found[l.Partition] = l.Offset
		if l.Value != fmt.Sprint(l.Offset) {
			s.t.Errorf("at %d-%d it has read %q", l.Partition, l.Offset, l.Value)
		}
	}
	if want := map[int32]int64{0: 50, 1: 25}; len(got) != 2 || !maps.Equal(found, want) {
		s.t.Errorf("it begins at %v in %d lines, want one line a partition: %v", found, len(got), want)
	}
}

// large: records of nearly the default limit go both ways, and larger ones where the topic allows them. A consumer reads
// what is larger than it asks for at once.
func (s *session) large() {
	const usual, most = 900_000, 5 << 20
	topic := s.topic(1)
	s.do("produce", "topic="+topic, "codec=none", "count=3", fmt.Sprint("size=", usual))
	s.produced(topic, 3, usual)
	s.same(topic, 3, s.do("consume", "topic="+topic, "count=3").records())
	s.scenario += "-raised"
	topic = s.topic(1, "max.message.bytes=8388608")
	s.scenario = "large"
	s.do("produce", "topic="+topic, "codec=none", "count=2", fmt.Sprint("size=", most), "max=6000000")
	s.produced(topic, 2, most)
	s.same(topic, 2, s.do("consume", "topic="+topic, "count=2").records())
}
