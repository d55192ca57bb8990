package group

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// TestTransactionsOfMany has a few producers, an administrator and a consumer without a group commit and delete the same few
// offsets at random, between crashes. World checks after each step what the log means; here it is checked what is told of it.
func TestTransactionsOfMany(t *testing.T) {
	o := testOptions()
	o.OffsetsRetention, o.OffsetsCheckInterval = 10*time.Minute, 3*time.Minute
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 5))
		w := newWorld(t, o)
		for range 300 {
			someStep(w, rng)
			for _, group := range []string{"g", "h"} {
				for p := range int32(3) {
					checkTold(w, group, p)
				}
			}
		}
	}
}

// someStep does something to the groups g and h, whose topics are t and u with ids of 1 and 2.
func someStep(w *world, rng *rand.Rand) {
	group, id := []string{"g", "h"}[rng.IntN(2)], [16]byte{byte(1 + rng.IntN(2))}
	topic, p, offset := []string{"t", "u"}[rng.IntN(2)], int32(rng.IntN(3)), rng.Int64N(1000)
	switch n := rng.IntN(30); {
	case n < 10:
		r := kmsg.NewPtrTxnOffsetCommitRequest()
		r.Version, r.Group, r.Generation, r.ProducerID = 5, group, -1, int64(rng.IntN(4))
		r.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic, TopicID: id, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Partition: p, Offset: offset}}}}
		w.do(Input{Request: TxnCommit{Request: r}})
	case n < 18:
		w.decide(int64(rng.IntN(4)), rng.IntN(2) == 0)
	case n < 23:
		r := kmsg.NewPtrOffsetCommitRequest()
		r.Version, r.Group, r.Generation, r.RetentionTimeMillis = 9, group, -1, -1
		r.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, TopicID: id, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: p, Offset: offset}}}}
		w.do(Input{Request: r})
	case n < 25:
		w.do(Input{Request: DeleteOffsets{group, []DeleteTopic{{topic, []int32{p}}}}})
	case n < 26:
		w.do(Input{Request: Delete{group}})
	case n < 27:
		w.do(Input{Request: TopicsDeleted{func(_ string, other [16]byte) bool { return other != id }}})
	case n < 28:
		w.advance(time.Duration(rng.IntN(5))*time.Minute, func(coordinator.Effects) {})
	default:
		w.reload(rng.IntN(2) == 0)
	}
}

// checkTold checks what is told of an offset to those who want stable ones, and to others.
func checkTold(w *world, group string, p int32) {
	told := func(stable bool) kmsg.OffsetFetchResponseGroupTopicPartition {
		return w.m.fetch(Fetch{Group: group, RequireStable: stable, Topics: []FetchTopic{{Topic: "t", Partitions: []int32{p}}}}).Topics[0].Partitions[0]
	}
	key := offsetKey(group, "t", p)
	plain := told(false)
	want := plain
	if len(w.ref.wait[string(key)]) > 0 {
		want = noOffset(p)
		want.ErrorCode = kerr.UnstableOffsetCommit.Code
	}
	if got := told(true); fmt.Sprint(got.Offset, got.ErrorCode) != fmt.Sprint(want.Offset, want.ErrorCode) {
		w.t.Fatalf("who wants a stable offset of %s for t/%d is told %d, %s; pending %v", group, p, got.Offset, errorName(got.ErrorCode), w.ref.wait[string(key)])
	}
	all, counts := w.m.fetch(Fetch{Group: group, RequireStable: true}), plain.Offset >= 0
	for _, topic := range all.Topics {
		for _, answer := range topic.Partitions {
			if topic.Topic != "t" || answer.Partition != p {
				continue
			}
			if !counts || answer.Offset != want.Offset || answer.ErrorCode != want.ErrorCode {
				w.t.Fatalf("among all offsets of %s that for t/%d is told as %d, %s", group, p, answer.Offset, errorName(answer.ErrorCode))
			}
			counts = false
		}
	}
	if counts {
		w.t.Fatalf("among all offsets of %s that for t/%d is not told", group, p)
	}
}
