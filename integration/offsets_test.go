//go:build integration && unix

package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// listOffset asks for one offset.
func (w *wire) listOffset(version int16, topic string, partition int32, timestamp int64) kmsg.ListOffsetsResponseTopicPartition {
	w.t.Helper()
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.MaxNumOffsets = partition, timestamp, 10
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.Topics = version, append(req.Topics, t)
	return ask[*kmsg.ListOffsetsResponse](w, req).Topics[0].Partitions[0]
}

// epochMillis is the time of the first record in the tests of timestamps.
const epochMillis = int64(1_700_000_000_000)

// timedBatch returns a batch in a codec whose records have these timestamps, counted from epochMillis.
func timedBatch(t testing.TB, codec record.Codec, timestamps ...int64) record.Batch {
	t.Helper()
	b := record.NewBuilder(0)
	b.Compression.Codec, b.Compressor = codec, new(record.Compressor)
	for i, ts := range timestamps {
		b.Add(epochMillis+ts, nil, []byte(fmt.Sprint("record ", i)))
	}
	return build1(t, b)
}

// TestListOffsets asks for every special timestamp and for times, in every version that knows them, of a partition
// whose batches are in every codec and whose timestamps are not in order.
func TestListOffsets(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	b.createTopic(t, "empty", 1)
	w := b.dial(t)
	for i, codec := range codecs {
		// The batches at 0, 5, 10, … have times 1000·i + 0, 300, 100, 700, 200.
		at := int64(i) * 1000
		if base := w.produce("t", 0, timedBatch(t, codec.codec, at, at+300, at+100, at+700, at+200)); base != int64(i)*5 {
			t.Fatalf("batch %d is at %d", i, base)
		}
	}
	tests := []struct {
		name                 string
		topic                string
		timestamp            int64
		since                int16 // the version that knows the timestamp
		wantOffset, wantTime int64
	}{
		{name: "latest", topic: "t", timestamp: -1, wantOffset: 25, wantTime: -1},
		{name: "earliest", topic: "t", timestamp: -2, wantOffset: 0, wantTime: -1},
		{name: "largest time", topic: "t", timestamp: -3, since: 7, wantOffset: 23, wantTime: epochMillis + 4700},
		{name: "earliest local", topic: "t", timestamp: -4, since: 8, wantOffset: 0, wantTime: -1},
		{name: "latest tiered", topic: "t", timestamp: -5, since: 9, wantOffset: -1, wantTime: -1},
		{name: "earliest pending upload", topic: "t", timestamp: -6, since: 11, wantOffset: -1, wantTime: -1},
		{name: "unknown special", topic: "t", timestamp: -7, since: 100},
		{name: "long ago", topic: "t", timestamp: 0, wantOffset: 0, wantTime: epochMillis},
		{name: "the first record's", topic: "t", timestamp: epochMillis, wantOffset: 0, wantTime: epochMillis},
		{name: "within a batch", topic: "t", timestamp: epochMillis + 50, wantOffset: 1, wantTime: epochMillis + 300},
		{name: "within a gzip batch", topic: "t", timestamp: epochMillis + 1301, wantOffset: 8, wantTime: epochMillis + 1700},
		{name: "within a snappy batch", topic: "t", timestamp: epochMillis + 2001, wantOffset: 11, wantTime: epochMillis + 2300},
		{name: "within an lz4 batch", topic: "t", timestamp: epochMillis + 3300, wantOffset: 16, wantTime: epochMillis + 3300},
		{name: "within a zstd batch", topic: "t", timestamp: epochMillis + 4700, wantOffset: 23, wantTime: epochMillis + 4700},
		{name: "between batches", topic: "t", timestamp: epochMillis + 701, wantOffset: 5, wantTime: epochMillis + 1000},
		{name: "after all", topic: "t", timestamp: epochMillis + 4701, wantOffset: -1, wantTime: -1},
		{name: "latest of none", topic: "empty", timestamp: -1, wantOffset: 0, wantTime: -1},
		{name: "earliest of none", topic: "empty", timestamp: -2, wantOffset: 0, wantTime: -1},
		{name: "largest time of none", topic: "empty", timestamp: -3, since: 7, wantOffset: -1, wantTime: -1},
		{name: "a time of none", topic: "empty", timestamp: 0, wantOffset: -1, wantTime: -1},
	}
	check := func(t *testing.T, w *wire) {
		for _, test := range tests {
			for version := int16(1); version <= 11; version++ {
				what := fmt.Sprintf("%s, version %d", test.name, version)
				p := w.listOffset(version, test.topic, 0, test.timestamp)
				if version < test.since {
					expectCode(t, what, p.ErrorCode, kerr.UnsupportedVersion)
					continue
				}
				expectCode(t, what, p.ErrorCode, nil)
				if p.Offset != test.wantOffset || p.Timestamp != test.wantTime {
					t.Errorf("%s: offset %d, timestamp %d, want %d and %d", what, p.Offset, p.Timestamp, test.wantOffset, test.wantTime)
				}
			}
		}
		expectCode(t, "a partition that is not there", w.listOffset(11, "t", 1, -1).ErrorCode, kerr.UnknownTopicOrPartition)
		expectCode(t, "a topic that is not there", w.listOffset(11, "x", 0, -1).ErrorCode, kerr.UnknownTopicOrPartition)
	}
	check(t, w)
	t.Run("after a restart", func(t *testing.T) {
		b.restart()
		check(t, b.dial(t))
	})
	t.Run("after a kill", func(t *testing.T) {
		b.crash()
		check(t, b.dial(t))
	})
	t.Run("kcat", func(t *testing.T) {
		needKcat(t)
		for timestamp, want := range map[int64]int64{-1: 25, -2: 0, epochMillis + 1301: 8, epochMillis + 4701: 25} {
			// librdkafka shows the end where there is no record at or after the time.
			out := b.runKcat(t, nil, "-Q", "-t", fmt.Sprintf("t:0:%d", timestamp))
			if got := strings.TrimSpace(out); got != fmt.Sprintf("t [0] offset %d", want) && !(want == 25 && got == "t [0] offset -1") {
				t.Errorf("kcat says %q of time %d, want offset %d", got, timestamp, want)
			}
		}
		if r := b.runKcat(t, nil, "-C", "-q", "-t", "t", "-o", fmt.Sprint("s@", epochMillis+2001), "-c", "1", "-f", "%o"); r != "11" {
			t.Errorf("kcat starts at %s, want 11", r)
		}
	})
}

// TestLogAppendTime: under LogAppendTime all records have the broker's time, in each codec, for readers and for searches.
func TestLogAppendTime(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1, "message.timestamp.type", "LogAppendTime")
	w := b.dial(t)
	before := time.Now().UnixMilli()
	for _, codec := range codecs {
		w.produce("t", 0, timedBatch(t, codec.codec, 0, 5, 3))
	}
	after := time.Now().UnixMilli()
	last := int64(0)
	for i, r := range b.consume(t, "t", 15) {
		ts := r.Timestamp.UnixMilli()
		if ts < before || ts > after || ts < last || r.Attrs.TimestampType() != 1 {
			t.Errorf("record %d has time %d of type %d, want one of %d to %d", i, ts, r.Attrs.TimestampType(), before, after)
		}
		last = ts
	}
	if p := w.listOffset(11, "t", 0, before); p.Offset != 0 {
		t.Errorf("the first record since the test began is at %d, want 0", p.Offset)
	}
	if p := w.listOffset(11, "t", 0, after+1); p.Offset != -1 {
		t.Errorf("the first record after the test is at %d, want none", p.Offset)
	}
}

// TestOffsetForLeaderEpoch: each start has an epoch of its own, and the ends of those before are known.
func TestOffsetForLeaderEpoch(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	b.dial(t).produce("t", 0, batchOf(t, "a", "b"))
	b.restart()
	b.dial(t).produce("t", 0, batchOf(t, "c"))
	b.crash()
	b.crash()
	w := b.dial(t)
	w.produce("t", 0, batchOf(t, "d", "e", "f"))

	for _, test := range []struct{ epoch, wantEpoch, wantEnd int64 }{
		{0, 0, 0}, {1, 1, 2}, {2, 2, 3}, {3, 2, 3}, {4, 4, 6}, {5, -1, -1},
	} {
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.CurrentLeaderEpoch, p.LeaderEpoch = 4, int32(test.epoch)
		topic := kmsg.NewOffsetForLeaderEpochRequestTopic()
		topic.Topic, topic.Partitions = "t", append(topic.Partitions, p)
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.Version, req.ReplicaID, req.Topics = 4, -1, append(req.Topics, topic)
		got := ask[*kmsg.OffsetForLeaderEpochResponse](w, req).Topics[0].Partitions[0]
		expectCode(t, fmt.Sprint("epoch ", test.epoch), got.ErrorCode, nil)
		if int64(got.LeaderEpoch) != test.wantEpoch || got.EndOffset != test.wantEnd {
			t.Errorf("epoch %d: epoch %d ends at %d, want %d and %d", test.epoch, got.LeaderEpoch, got.EndOffset, test.wantEpoch, test.wantEnd)
		}
	}
	for epoch, want := range map[int32]*kerr.Error{3: kerr.FencedLeaderEpoch, 4: nil, 5: kerr.UnknownLeaderEpoch} {
		req := fetchRequest(12, 0, 1, wanted{topic: "t"})
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
		expectCode(t, fmt.Sprint("fetch with epoch ", epoch), ask[*kmsg.FetchResponse](w, req).Topics[0].Partitions[0].ErrorCode, want)
	}
}
