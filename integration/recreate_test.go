//go:build integration && unix

package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// onlyByRequest keeps clients that ask for a topic which is deleted from making it again.
const onlyByRequest = "auto.create.topics.enable=false"

// TestTopicComesBack: a topic that is deleted and made again under its name is another one.
func TestTopicComesBack(t *testing.T) {
	b := start(t, onlyByRequest)
	b.createTopic(t, "t", 2)
	w := b.dial(t)
	oldID := w.topicID("t")
	for range 5 {
		w.produce("t", 0, batchOf(t, "old"))
		w.produce("t", 1, batchOf(t, "old"))
	}
	session := ask[*kmsg.FetchResponse](w, inSession(fetchRequest(17, 0, 1, wanted{"t", oldID, 0, 5}), 0, 0)).SessionID

	adm := b.admin(t)
	if _, err := adm.DeleteTopic(within(t, patience), "t"); err != nil {
		t.Fatal(err)
	}
	expectUnknown := func(what string) {
		t.Helper()
		resp := ask[*kmsg.MetadataResponse](w, metadataRequest(12, false, "t"))
		expectCode(t, what+": metadata", resp.Topics[0].ErrorCode, kerr.UnknownTopicOrPartition)
		p := ask[*kmsg.ProduceResponse](w, produceRequest("t", 0, -1, batchOf(t, "x"))).Topics[0].Partitions[0]
		expectCode(t, what+": produce", p.ErrorCode, kerr.UnknownTopicOrPartition)
		f := ask[*kmsg.FetchResponse](w, fetchRequest(12, 0, 1, wanted{topic: "t"})).Topics[0].Partitions[0]
		expectCode(t, what+": fetch", f.ErrorCode, kerr.UnknownTopicOrPartition)
		expectCode(t, what+": list offsets", w.listOffset(7, "t", 0, -1).ErrorCode, kerr.UnknownTopicOrPartition)
	}
	expectUnknown("deleted")
	eventually(t, patience, "the folders of the deleted topic are gone", func() bool { return len(b.topicFolders(t)) == 0 })

	b.createTopic(t, "t", 1)
	newID := w.topicID("t")
	if newID == oldID {
		t.Fatalf("the new topic has the old one's id %x", newID)
	}
	checkOldID := func(what string) {
		t.Helper()
		byID := kmsg.NewMetadataRequestTopic()
		byID.TopicID = oldID
		req := metadataRequest(12, false)
		req.Topics = append(req.Topics, byID)
		expectCode(t, what+": metadata of the old id", ask[*kmsg.MetadataResponse](w, req).Topics[0].ErrorCode, kerr.UnknownTopicID)

		p := produceRequest("", 0, -1, batchOf(t, "x"))
		p.Version, p.Topics[0].TopicID = 13, oldID
		expectCode(t, what+": produce to the old id", ask[*kmsg.ProduceResponse](w, p).Topics[0].Partitions[0].ErrorCode, kerr.UnknownTopicID)
		f := ask[*kmsg.FetchResponse](w, fetchRequest(17, 0, 1, wanted{"t", oldID, 0, 5})).Topics[0].Partitions[0]
		expectCode(t, what+": fetch of the old id", f.ErrorCode, kerr.UnknownTopicID)
		n := ask[*kmsg.FetchResponse](w, fetchRequest(17, 0, 1, wanted{"t", newID, 0, 0})).Topics[0].Partitions[0]
		expectCode(t, what+": fetch of the new id", n.ErrorCode, nil)
	}
	if p := w.listOffset(7, "t", 0, -1); p.Offset != 0 {
		t.Errorf("the new topic ends at %d, want 0", p.Offset)
	}
	checkOldID("made again")
	resp := ask[*kmsg.FetchResponse](w, inSession(fetchRequest(17, 0, 1), session, 1))
	if p := fetched(resp, wanted{id: oldID}); p == nil {
		t.Errorf("a session with the old topic hears nothing: %+v", resp)
	} else {
		expectCode(t, "a session with the old topic", p.ErrorCode, kerr.InconsistentTopicID)
	}

	if base := w.produce("t", 0, batchOf(t, "new")); base != 0 {
		t.Errorf("the new topic's first batch is at %d, want 0", base)
	}
	f := ask[*kmsg.FetchResponse](w, fetchRequest(12, 0, 1, wanted{topic: "t", partition: 1})).Topics[0].Partitions[0]
	expectCode(t, "a partition that only the old topic had", f.ErrorCode, kerr.UnknownTopicOrPartition)
	for range 2 {
		b.crash()
		w = b.dial(t)
		if id := w.topicID("t"); id != newID {
			t.Errorf("after a kill the id is %x, want %x", id, newID)
		}
		checkOldID("after a kill")
		if r := b.consumePartition(t, "t", 0); len(r) != 1 || string(r[0].Value) != "new" {
			t.Errorf("after a kill there are %d records", len(r))
		}
	}
}

// TestClientsOfATopicThatComesBack: a producer and a consumer that know the old topic, by its id, are told that it is
// gone, and never reach the new one by mistake. franz-go leaves it to its user to let go of the old topic.
func TestClientsOfATopicThatComesBack(t *testing.T) {
	b := start(t, onlyByRequest)
	b.createTopic(t, "t", 1)
	producer := b.client(t, kgo.DefaultProduceTopic("t"))
	consumer := b.client(t, kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	produce(t, producer, kgo.StringRecord("old 0"), kgo.StringRecord("old 1"), kgo.StringRecord("old 2"))
	poll(t, consumer, 3)
	adm := b.admin(t)
	if _, err := adm.DeleteTopic(within(t, patience), "t"); err != nil {
		t.Fatal(err)
	}
	b.createTopic(t, "t", 1)
	// franz-go repeats the attempt until it has heard, by metadata, that the topic is another one.
	if err := producer.ProduceSync(within(t, patience), kgo.StringRecord("old 3")).FirstErr(); !errors.Is(err, kerr.UnknownTopicID) {
		t.Errorf("the old topic's producer: %v, want %v", err, kerr.UnknownTopicID)
	}

	producer.PurgeTopicsFromClient("t")
	produce(t, producer, kgo.StringRecord("new 0"))
	consumer.PurgeTopicsFromClient("t")
	consumer.AddConsumeTopics("t")
	if r := poll(t, consumer, 1); len(r) != 1 || r[0].Offset != 0 || string(r[0].Value) != "new 0" {
		t.Errorf("the consumer is given %d records, the first %q at %d, want the new record alone", len(r), r[0].Value, r[0].Offset)
	}
	if r := b.consumePartition(t, "t", 0); len(r) != 1 || string(r[0].Value) != "new 0" {
		t.Errorf("the new topic holds %d records, want the new one alone", len(r))
	}
}

// TestDeleteUnderLoad deletes a topic and makes it again while clients write to it and read it. Nothing may go wrong in
// the broker, and what is acknowledged in the last topic must be there.
func TestDeleteUnderLoad(t *testing.T) {
	b := start(t, onlyByRequest)
	adm := b.admin(t)
	b.createTopic(t, "t", 3)
	done := make(chan struct{})
	writers := make(chan error, 3)
	for i := range cap(writers) {
		w := b.dial(t)
		go func() { writers <- writeAnyway(t, w, int32(i), done) }()
	}
	for range 10 {
		eventually(t, patience, "something is written", func() bool { return b.dataSize("t") > 20_000 })
		if _, err := adm.DeleteTopic(within(t, patience), "t"); err != nil {
			t.Fatal(err)
		}
		b.createTopic(t, "t", 3)
	}
	close(done)
	for range cap(writers) {
		if err := <-writers; err != nil {
			t.Error(err)
		}
	}
	for p := range int32(3) {
		for i, r := range b.consumePartition(t, "t", p) {
			if r.Offset != int64(i) {
				t.Fatalf("partition %d: record %d is at %d", p, i, r.Offset)
			}
		}
	}
	eventually(t, patience, "the folders of deleted topics are gone", func() bool { return len(b.topicFolders(t)) <= 3 })
	b.restart()
	if n := len(b.topicFolders(t)); n > 3 {
		t.Errorf("%d folders after the restart, want no more than 3", n)
	}
}

// writeAnyway writes to a partition of t until it is told to stop, whether the topic is there or not.
func writeAnyway(t testing.TB, w *wire, partition int32, done <-chan struct{}) error {
	batch := batchOf(t, strings.Repeat("x", 1000))
	for {
		select {
		case <-done:
			return nil
		default:
		}
		req := produceRequest("t", partition, -1, batch)
		if _, err := w.conn.Write(w.formatter.AppendRequest(nil, req, w.next)); err != nil {
			return err
		}
		w.next++
		w.asked = append(w.asked, req)
		resp, err := w.tryReceive()
		if err != nil {
			return err
		}
		err = kerr.ErrorForCode(resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
		if err != nil && !kerr.IsRetriable(err) {
			return fmt.Errorf("produce to a topic that comes and goes: %w", err)
		}
	}
}
