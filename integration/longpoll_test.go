//go:build integration && unix

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// still is how long an answer that must not come is waited for.
const still = 300 * time.Millisecond

// prompt is the most that an answer may take that should come at once. It is well below the waits that the tests ask for.
const prompt = 5 * time.Second

// wanted is a partition that a fetch asks for.
type wanted struct {
	topic     string
	id        [16]byte
	partition int32
	offset    int64
}

// fetchRequest is a Fetch outside of sessions. From version 13 on topics are named by their ids.
func fetchRequest(version int16, wait time.Duration, minBytes int32, parts ...wanted) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = version, int32(wait.Milliseconds()), minBytes, 50<<20
	req.SessionEpoch = -1
	for _, w := range parts {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = w.topic, w.id
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = w.partition, w.offset, 10<<20
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	return req
}

// fetched is what an answer says of a partition; nil if it does not name it.
func fetched(resp *kmsg.FetchResponse, w wanted) *kmsg.FetchResponseTopicPartition {
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if resp.Version < 13 && t.Topic != w.topic || resp.Version >= 13 && t.TopicID != w.id {
			continue
		}
		for j := range t.Partitions {
			if t.Partitions[j].Partition == w.partition {
				return &t.Partitions[j]
			}
		}
	}
	return nil
}

// valuesOf returns the values of the records in an answer for a partition.
func valuesOf(t testing.TB, p *kmsg.FetchResponseTopicPartition) []string {
	t.Helper()
	var values []string
	if p == nil {
		return nil
	}
	expectCode(t, "fetch", p.ErrorCode, nil)
	for data := p.RecordBatches; len(data) > 0; {
		batch, rest, err := record.Parse(data)
		if err == nil {
			err = batch.Verify()
		}
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range batch.Records(nil) {
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, string(r.Value))
		}
		data = rest
	}
	return values
}

// countValues returns how many records an answer has in all.
func countValues(t testing.TB, resp *kmsg.FetchResponse) (n int) {
	t.Helper()
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			n += len(valuesOf(t, &resp.Topics[i].Partitions[j]))
		}
	}
	return n
}

// TestFetchWaits: a fetch that finds nothing is answered after its time, neither before nor much later, in each version.
func TestFetchWaits(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	w := b.dial(t)
	id := w.topicID("t")
	for version := int16(4); version <= 18; version++ {
		const wait = 200 * time.Millisecond
		var resp *kmsg.FetchResponse
		took := elapsed(func() {
			resp = ask[*kmsg.FetchResponse](w, fetchRequest(version, wait, 1, wanted{topic: "t", id: id}))
		})
		if took < wait || took > wait+prompt {
			t.Errorf("version %d: answered after %v, want %v", version, took, wait)
		}
		p := fetched(resp, wanted{topic: "t", id: id})
		if p == nil || p.ErrorCode != 0 || p.HighWatermark != 0 || p.RecordBatches == nil || len(p.RecordBatches) != 0 {
			t.Errorf("version %d: %+v", version, p)
		}
	}
	took := elapsed(func() { ask[*kmsg.FetchResponse](w, fetchRequest(12, time.Minute, 0, wanted{topic: "t"})) })
	if took > prompt {
		t.Errorf("min_bytes 0: answered after %v, want at once", took)
	}
}

// TestFetchWakes: records that come end the wait at once, for everybody who waits.
func TestFetchWakes(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 2)
	var waiting []*wire
	for i := range 40 {
		w := b.dial(t)
		w.send(fetchRequest(12, time.Minute, 1, wanted{topic: "t", partition: 0}, wanted{topic: "t", partition: 1}))
		if waiting = append(waiting, w); i == 0 {
			w.staysQuiet(still)
		}
	}
	took := elapsed(func() {
		b.dial(t).produce("t", 1, batchOf(t, "news"))
		for _, w := range waiting {
			resp := answer[*kmsg.FetchResponse](w)
			if v := valuesOf(t, fetched(resp, wanted{topic: "t", partition: 1})); len(v) != 1 || v[0] != "news" {
				t.Errorf("values %q", v)
			}
		}
	})
	if took > prompt {
		t.Errorf("%d fetches were answered %v after the produce", len(waiting), took)
	}
}

// TestFetchMinBytes: min_bytes counts over all partitions of a fetch.
func TestFetchMinBytes(t *testing.T) {
	b := start(t)
	b.createTopic(t, "a", 2)
	b.createTopic(t, "b", 1)
	all := []wanted{{topic: "a", partition: 0}, {topic: "a", partition: 1}, {topic: "b", partition: 0}}
	large := strings.Repeat("x", 1000)
	w, producer := b.dial(t), b.dial(t)

	w.send(fetchRequest(12, time.Minute, 2500, all...))
	w.staysQuiet(still)
	producer.produce("b", 0, batchOf(t, large))
	w.staysQuiet(still)
	producer.produce("a", 1, batchOf(t, large))
	w.staysQuiet(still)
	var resp *kmsg.FetchResponse
	took := elapsed(func() {
		producer.produce("a", 0, batchOf(t, large))
		resp = answer[*kmsg.FetchResponse](w)
	})
	if took > prompt || countValues(t, resp) != 3 {
		t.Errorf("after %v there are %d records, want 3 at once", took, countValues(t, resp))
	}

	// What there is already counts; too little of it is answered after the time.
	const wait = 400 * time.Millisecond
	took = elapsed(func() { resp = ask[*kmsg.FetchResponse](w, fetchRequest(12, wait, 1<<20, all...)) })
	if took < wait || took > wait+prompt || countValues(t, resp) != 3 {
		t.Errorf("after %v there are %d records, want 3 after %v", took, countValues(t, resp), wait)
	}
	took = elapsed(func() { resp = ask[*kmsg.FetchResponse](w, fetchRequest(12, time.Minute, 2500, all...)) })
	if took > prompt || countValues(t, resp) != 3 {
		t.Errorf("after %v there are %d records, want 3 at once", took, countValues(t, resp))
	}
}

// TestProduceBehindFetch: a produce takes effect at once although a fetch before it on the same connection still waits;
// here it is even what the fetch waits for. The answers keep their order.
func TestProduceBehindFetch(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	w := b.dial(t)
	took := elapsed(func() {
		w.send(fetchRequest(12, time.Minute, 1, wanted{topic: "t"}))
		w.staysQuiet(still)
		w.send(produceRequest("t", 0, -1, batchOf(t, "mine")))
		if n := countValues(t, answer[*kmsg.FetchResponse](w)); n != 1 {
			t.Errorf("%d records, want 1", n)
		}
		if p := answer[*kmsg.ProduceResponse](w).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != 0 {
			t.Errorf("produce: %+v", p)
		}
	})
	if took > prompt {
		t.Errorf("answered after %v, want at once", took)
	}
}

// TestFetchEndsWithItsReason: a wait ends at once when its client goes, and when its topic does.
func TestFetchEndsWithItsReason(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	w := b.dial(t)
	w.send(fetchRequest(12, time.Hour, 1, wanted{topic: "t"}))
	w.staysQuiet(still)
	adm := b.admin(t)
	took := elapsed(func() {
		if _, err := adm.DeleteTopic(within(t, patience), "t"); err != nil {
			t.Fatal(err)
		}
		p := fetched(answer[*kmsg.FetchResponse](w), wanted{topic: "t"})
		if p == nil || p.ErrorCode == 0 || len(p.RecordBatches) != 0 {
			t.Errorf("the topic is deleted, and the answer is %+v", p)
		} else if err := kerr.TypedErrorForCode(p.ErrorCode); !err.Retriable {
			t.Errorf("the topic is deleted, and the answer is %v, which is not an error that clients try again on", err)
		}
	})
	if took > prompt {
		t.Errorf("answered %v after the topic was deleted", took)
	}
	adm.Close()

	b.createTopic(t, "t", 1)
	w.send(fetchRequest(12, time.Hour, 1, wanted{topic: "t"}))
	w.staysQuiet(still)
	w.conn.Close()
	eventually(t, prompt, "the broker has noticed that the client is gone", func() bool {
		return b.metric("segue_connections") == 0
	})
}
