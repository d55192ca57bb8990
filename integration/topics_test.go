//go:build integration && unix

package integration

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestAutoCreation: the first answer that names a new topic has it, with a leader for each partition, so that the first
// record is not lost; in each version.
func TestAutoCreation(t *testing.T) {
	b := start(t, "num.partitions=3")
	w := b.dial(t)
	for version := int16(0); version <= 13; version++ {
		topic := fmt.Sprint("created", version)
		if version >= 4 {
			resp := ask[*kmsg.MetadataResponse](w, metadataRequest(version, false, topic))
			expectCode(t, fmt.Sprintf("version %d, not to be created", version), resp.Topics[0].ErrorCode, kerr.UnknownTopicOrPartition)
		}
		resp := ask[*kmsg.MetadataResponse](w, metadataRequest(version, true, topic))
		if len(resp.Brokers) != 1 || len(resp.Topics) != 1 {
			t.Fatalf("version %d: %+v", version, resp)
		}
		got := resp.Topics[0]
		expectCode(t, fmt.Sprint("version ", version), got.ErrorCode, nil)
		if len(got.Partitions) != 3 {
			t.Errorf("version %d: %d partitions, want 3", version, len(got.Partitions))
		}
		for _, p := range got.Partitions {
			if p.ErrorCode != 0 || p.Leader != resp.Brokers[0].NodeID {
				t.Errorf("version %d: %+v, want broker %d to lead", version, p, resp.Brokers[0].NodeID)
			}
		}
		if base := w.produce(topic, 2, batchOf(t, "first")); base != 0 {
			t.Errorf("version %d: the first record is at %d", version, base)
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", "ü", strings.Repeat("x", 250)} {
		resp := ask[*kmsg.MetadataResponse](w, metadataRequest(12, true, name))
		expectCode(t, fmt.Sprintf("topic %q", name), resp.Topics[0].ErrorCode, kerr.InvalidTopicException)
	}
}

// TestAutoCreationRace: clients that ask for a new topic at the same time get the same one.
func TestAutoCreationRace(t *testing.T) {
	b := start(t)
	var clients []*wire
	for range 20 {
		clients = append(clients, b.dial(t))
	}
	for i := range 20 {
		ids := map[[16]byte]bool{}
		for _, w := range clients {
			w.send(metadataRequest(12, true, fmt.Sprint("t", i)))
		}
		for _, w := range clients {
			got := answer[*kmsg.MetadataResponse](w).Topics[0]
			expectCode(t, "metadata", got.ErrorCode, nil)
			ids[got.TopicID] = true
		}
		if len(ids) != 1 {
			t.Errorf("one topic has %d ids", len(ids))
		}
	}
}

// TestFirstProduce: the first record that a client sends to a topic that is not there arrives at once.
func TestFirstProduce(t *testing.T) {
	b := start(t)
	took := elapsed(func() {
		produce(t, b.client(t, kgo.DefaultProduceTopic("franz")), kgo.StringRecord("first"))
	})
	if took > prompt {
		t.Errorf("franz-go's first record took %v", took)
	}
	t.Run("kcat", func(t *testing.T) {
		needKcat(t)
		took := elapsed(func() { b.runKcat(t, strings.NewReader("first\n"), "-P", "-t", "kcat") })
		if took > prompt {
			t.Errorf("kcat's first record took %v", took)
		}
		if r := b.consumeWithKcat(t, "kcat", 1); len(r) != 1 || string(r[0].value) != "first" || r[0].offset != 0 {
			t.Errorf("%+v", r)
		}
		list := b.runKcat(t, nil, "-L")
		for _, want := range []string{
			"1 brokers:", fmt.Sprintf("broker 1 at %s (controller)", b.addr), "2 topics:", `topic "franz" with 1 partitions`,
			`topic "kcat" with 1 partitions`, "partition 0, leader 1, replicas: 1, isrs: 1",
		} {
			if !strings.Contains(list, want) {
				t.Errorf("kcat -L does not say %q:\n%s", want, list)
			}
		}
	})
}

// TestNoAutoCreation: where the broker is not to create topics, nothing does it by mistake.
func TestNoAutoCreation(t *testing.T) {
	b := start(t, onlyByRequest)
	w := b.dial(t)
	resp := ask[*kmsg.MetadataResponse](w, metadataRequest(12, true, "t"))
	expectCode(t, "metadata", resp.Topics[0].ErrorCode, kerr.UnknownTopicOrPartition)
	p := ask[*kmsg.ProduceResponse](w, produceRequest("t", 0, -1, batchOf(t, "a"))).Topics[0].Partitions[0]
	expectCode(t, "produce", p.ErrorCode, kerr.UnknownTopicOrPartition)
	b.restart()
	w = b.dial(t)
	if all := ask[*kmsg.MetadataResponse](w, &kmsg.MetadataRequest{Version: 9}); len(all.Topics) != 0 {
		t.Errorf("there are topics: %+v", all.Topics)
	}
}

// Bounds for a thousand topics. They are far above what it takes, so that a busy machine does not matter, and far below
// what it would take if each topic had to wait for a timer.
const (
	manyTopicsTime   = 60 * time.Second
	manyTopicsStart  = 15 * time.Second
	manyTopicsMemory = 256 << 20
)

// topicCount is how many topics TestManyTopics makes.
func topicCount(t testing.TB) int {
	t.Helper()
	text := os.Getenv("SEGUE_TOPICS")
	if text == "" {
		return 1000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SEGUE_TOPICS=%s: it is a number of topics", text)
	}
	return n
}

// TestManyTopics creates a thousand topics by their first use, writes to them and reads them, stops and kills the broker
// with them, and deletes them.
func TestManyTopics(t *testing.T) {
	manyTopics := topicCount(t)
	scale := time.Duration(max(1, manyTopics/1000)) // of the bounds
	b := start(t)
	var names []string
	for i := range manyTopics {
		names = append(names, fmt.Sprintf("topic.%04d", i))
	}
	write := func(round int) {
		t.Helper()
		cl := b.client(t, kgo.ProducerLinger(10*time.Millisecond))
		defer cl.Close()
		var records []*kgo.Record
		for _, name := range names {
			records = append(records, &kgo.Record{Topic: name, Value: []byte(fmt.Sprintf("%s round %d", name, round))})
		}
		took := elapsed(func() { produce(t, cl, records...) })
		t.Logf("round %d: %d topics written in %v", round, len(names), took)
		if took > scale*manyTopicsTime {
			t.Errorf("writing to %d topics took %v", len(names), took)
		}
	}
	read := func(rounds int) {
		t.Helper()
		took := elapsed(func() {
			cl := b.client(t, kgo.ConsumeTopics(names...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			defer cl.Close()
			seen := map[string]int{}
			for _, r := range poll(t, cl, rounds*manyTopics) {
				if want := fmt.Sprintf("%s round %d", r.Topic, seen[r.Topic]); string(r.Value) != want || r.Offset != int64(seen[r.Topic]) {
					t.Fatalf("%s at %d: %q, want %q", r.Topic, r.Offset, r.Value, want)
				}
				seen[r.Topic]++
			}
			if len(seen) != manyTopics {
				t.Errorf("records of %d topics, want %d", len(seen), manyTopics)
			}
		})
		t.Logf("%d topics read in %v", len(names), took)
		if took > scale*manyTopicsTime {
			t.Errorf("reading %d topics took %v", len(names), took)
		}
	}
	checkStart := func(how string, took time.Duration) {
		t.Helper()
		t.Logf("%s with %d topics: ready after %v", how, len(names), took)
		if took > scale*manyTopicsStart {
			t.Errorf("%s took %v", how, took)
		}
	}
	write(0)
	write(1)
	read(2)
	if n := b.metric("segue_partitions_open"); n != float64(manyTopics) {
		t.Errorf("%v partitions are open, want %d", n, manyTopics)
	}
	checkStart("restart", b.restart())
	read(2)
	write(2)
	checkStart("start after a kill", b.crash())
	read(3)

	adm := b.admin(t)
	took := elapsed(func() {
		for some := range slices.Chunk(names, 500) {
			resp, err := adm.DeleteTopics(within(t, scale*manyTopicsTime), some...)
			if err == nil {
				err = resp.Error()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Logf("%d topics deleted in %v", len(names), took)
	adm.Close()
	eventually(t, scale*manyTopicsTime, "the folders are gone", func() bool { return len(b.topicFolders(t)) == 0 })
	checkStart("restart without them", b.restart())
	if all := ask[*kmsg.MetadataResponse](b.dial(t), &kmsg.MetadataRequest{Version: 9}); len(all.Topics) != 0 {
		t.Errorf("%d topics are there again", len(all.Topics))
	}
	b.stop()
	t.Logf("%v of CPU, %d MiB of memory at most", b.cpu, b.peak>>20)
	if b.peak > int64(scale)*manyTopicsMemory && !raceEnabled() {
		t.Errorf("the broker has taken %d MiB of memory", b.peak>>20)
	}
}
