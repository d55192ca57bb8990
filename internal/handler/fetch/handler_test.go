package fetch

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage"
	"segue/storage/record"
)

func TestEveryVersion(t *testing.T) {
	for version := int16(4); version <= 18; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			s := newStage(t)
			s.create("a", 2)
			s.produce("a", 1, 10)
			s.produce("a", 1, 10)
			req := request(version, ask{topic: "a", partition: 0}, ask{topic: "a", partition: 1})
			req.IsolationLevel = 1
			resp := s.fetch(t.Context(), req)
			if resp.ErrorCode != 0 || len(resp.Topics) != 1 {
				t.Fatalf("error %d, %d topics: %+v", resp.ErrorCode, len(resp.Topics), resp)
			}
			empty := s.expect(resp, "a", 0, nil)
			if empty.HighWatermark != 0 || len(empty.RecordBatches) != 0 {
				t.Errorf("the empty partition: %+v", empty)
			}
			p := s.expect(resp, "a", 1, nil)
			if n := count(t, p.RecordBatches); n != 2 || p.HighWatermark != 2 || p.LastStableOffset != 2 {
				t.Errorf("%d batches, %+v", n, p)
			}
			if p.AbortedTransactions == nil {
				t.Error("read_committed: aborted transactions are null, want an empty list")
			}
			if version >= 5 && p.LogStartOffset != 0 {
				t.Errorf("log start %d", p.LogStartOffset)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name    string
		version int16
		ask     ask
		prepare func(s *stage)
		want    *kerr.Error
		hinted  bool // the answer names the leader
	}{
		{name: "unknown topic", version: 12, ask: ask{topic: "x"}, want: kerr.UnknownTopicOrPartition},
		{name: "unknown topic id", version: 13, ask: ask{topic: "x"}, want: kerr.UnknownTopicID},
		{name: "unknown partition", version: 12, ask: ask{topic: "a", partition: 2}, want: kerr.UnknownTopicOrPartition},
		{name: "unknown partition of an id", version: 13, ask: ask{topic: "a", partition: 2}, want: kerr.UnknownTopicOrPartition},
		{name: "negative partition", version: 13, ask: ask{topic: "a", partition: -1}, want: kerr.UnknownTopicOrPartition},
		{name: "old epoch", version: 12, ask: ask{topic: "a", epoch: leaderEpoch - 1}, want: kerr.FencedLeaderEpoch},
		{name: "old epoch, with a hint", version: 16, ask: ask{topic: "a", epoch: leaderEpoch - 1}, want: kerr.FencedLeaderEpoch, hinted: true},
		{name: "new epoch", version: 16, ask: ask{topic: "a", epoch: leaderEpoch + 1}, want: kerr.UnknownLeaderEpoch},
		{name: "right epoch", version: 16, ask: ask{topic: "a", epoch: leaderEpoch}, want: nil},
		{name: "beyond the end", version: 11, ask: ask{topic: "a", offset: 3}, want: kerr.OffsetOutOfRange},
		{name: "negative offset", version: 11, ask: ask{topic: "a", offset: -1}, want: kerr.OffsetOutOfRange},
		{name: "at the end", version: 11, ask: ask{topic: "a", offset: 2}, want: nil},
		{name: "not led here", version: 15, ask: ask{topic: "a"}, prepare: notLed, want: kerr.NotLeaderForPartition},
		{name: "not led here, with a hint", version: 17, ask: ask{topic: "a"}, prepare: notLed, want: kerr.NotLeaderForPartition, hinted: true},
		{name: "failing disk", version: 6, ask: ask{topic: "a"}, prepare: failingDisk, want: kerr.KafkaStorageError},
		{name: "failing disk, old client", version: 5, ask: ask{topic: "a"}, prepare: failingDisk, want: kerr.NotLeaderForPartition},
		{name: "damaged batch", version: 12, ask: ask{topic: "a"}, prepare: func(s *stage) {
			s.log("a", 0).fail(&storage.CorruptError{Err: record.ErrChecksum})
		}, want: kerr.CorruptMessage},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t)
			s.create("a", 2)
			s.produce("a", 0, 10)
			s.produce("a", 0, 10)
			if test.prepare != nil {
				test.prepare(s)
			}
			resp := s.fetch(t.Context(), request(test.version, test.ask))
			p := s.expect(resp, test.ask.topic, test.ask.partition, test.want)
			if test.want != nil && (p.HighWatermark != -1 || p.LastStableOffset != -1 || p.LogStartOffset != -1 || len(p.RecordBatches) > 0) {
				t.Errorf("an error with more than that: %+v", p)
			}
			if hinted := p.CurrentLeader.LeaderID == 7 && p.CurrentLeader.LeaderEpoch == leaderEpoch; hinted != test.hinted {
				t.Errorf("the leader is named: %v, want %v", hinted, test.hinted)
			}
			if (len(resp.Brokers) == 1) != test.hinted {
				t.Errorf("addresses of leaders: %+v", resp.Brokers)
			}
		})
	}
}

func notLed(s *stage) {
	s.broken[partitionKey{topicID: topicID("a")}] = fmt.Errorf("elsewhere: %w", kerr.NotLeaderForPartition)
}

func failingDisk(s *stage) { s.log("a", 0).fail(fmt.Errorf("I/O: %w", storage.ErrFailed)) }

func TestFollowerIsRefused(t *testing.T) {
	for version := int16(4); version <= 18; version++ {
		s := newStage(t)
		s.create("a", 1)
		s.produce("a", 0, 10)
		req := request(version, ask{topic: "a"})
		req.SessionEpoch = initialEpoch
		if version < replicaStateVersion {
			req.ReplicaID = 3
		} else {
			req.ReplicaState.ID = 3
		}
		resp := s.fetch(t.Context(), req)
		s.expect(resp, "a", 0, kerr.NotLeaderForPartition)
		if version >= 9 {
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = leaderEpoch
			s.expect(s.fetch(t.Context(), req), "a", 0, kerr.UnknownLeaderEpoch)
		}
		req.Topics[0].Partitions[0].Partition = 1
		s.expect(s.fetch(t.Context(), req), "a", 1, kerr.UnknownTopicOrPartition)
		if st := s.Stats(); st.Sessions != 0 {
			t.Error("a follower has got a session")
		}
	}
}

func TestDebuggingConsumerIsServed(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	s.produce("a", 0, 10)
	req := request(11, ask{topic: "a"})
	req.ReplicaID = -2
	if p := s.expect(s.fetch(t.Context(), req), "a", 0, nil); count(t, p.RecordBatches) != 1 {
		t.Error("no records")
	}
}

// Only the first partition with records may exceed the limits, and only with its first batch.
func TestLimits(t *testing.T) {
	tests := []struct {
		name     string
		maxBytes int32
		asks     []ask
		want     []int // batches, by partition
	}{
		{"plenty", 1 << 20, []ask{{partition: 0}, {partition: 1}, {partition: 2}}, []int{0, 3, 3}},
		{"the partition's limit", 1 << 20, []ask{{partition: 0}, {partition: 1, maxBytes: 2500}, {partition: 2, maxBytes: 1200}}, []int{0, 2, 1}},
		{"below a batch: the first gets one", 1 << 20, []ask{{partition: 0, maxBytes: 1}, {partition: 1, maxBytes: 1}, {partition: 2, maxBytes: 1}}, []int{0, 1, 0}},
		{"the whole limit is below a batch", 1, []ask{{partition: 1}, {partition: 2}}, []int{0, 1, 0}},
		{"no bytes at all", 0, []ask{{partition: 2}, {partition: 1}}, []int{0, 0, 1}},
		{"the whole limit is used up", 2500, []ask{{partition: 1}, {partition: 2}}, []int{0, 2, 0}},
		{"a negative limit of a partition", 1 << 20, []ask{{partition: 1, maxBytes: -1}, {partition: 2}}, []int{0, 1, 3}},
		{"a negative limit of all", -1, []ask{{partition: 1}, {partition: 2}}, []int{0, 1, 0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t)
			s.create("a", 3)
			for range 3 {
				s.produce("a", 1, 1000)
				s.produce("a", 2, 1000)
			}
			for i := range test.asks {
				test.asks[i].topic = "a"
			}
			req := request(11, test.asks...)
			req.MaxBytes = test.maxBytes
			resp := s.fetch(t.Context(), req)
			for number, want := range test.want {
				if p := part(resp, "a", int32(number)); p != nil {
					if n := count(t, p.RecordBatches); n != want {
						t.Errorf("partition %d: %d batches, want %d", number, n, want)
					}
				}
			}
		})
	}
}

func TestBrokerLimit(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	for range 5 {
		s.produce("a", 0, 1000)
	}
	s.config.MaxBytes = func() int { return 2500 }
	p := s.expect(s.fetch(t.Context(), request(11, ask{topic: "a"})), "a", 0, nil)
	if n := count(t, p.RecordBatches); n != 2 {
		t.Errorf("%d batches, want the 2 that the broker's fetch.max.bytes has room for", n)
	}
}

func TestUncommittedIsNotSeen(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	s.log("a", 0).auto = false
	s.produce("a", 0, 10)
	p := s.expect(s.fetch(t.Context(), request(12, ask{topic: "a"})), "a", 0, nil)
	if len(p.RecordBatches) != 0 || p.HighWatermark != 0 {
		t.Errorf("read %d bytes up to %d before the commit", len(p.RecordBatches), p.HighWatermark)
	}
	s.log("a", 0).commit()
	p = s.expect(s.fetch(t.Context(), request(12, ask{topic: "a"})), "a", 0, nil)
	if count(t, p.RecordBatches) != 1 || p.HighWatermark != 1 {
		t.Errorf("read %d bytes up to %d after the commit", len(p.RecordBatches), p.HighWatermark)
	}
}

func TestDivergingEpoch(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	s.produce("a", 0, 10)
	req := request(12, ask{topic: "a", offset: 4, fetched: leaderEpoch})
	req.MaxWaitMillis, req.MinBytes = 60_000, 1
	p := s.expect(s.fetch(t.Context(), req), "a", 0, nil) // at once: there is something to tell
	if p.DivergingEpoch.Epoch != leaderEpoch || p.DivergingEpoch.EndOffset != 1 {
		t.Errorf("diverging epoch %+v, want epoch %d to end at 1", p.DivergingEpoch, leaderEpoch)
	}
}

// poll is a fetch that waits.
func poll(version int16, wait time.Duration, minBytes int32, asks ...ask) *kmsg.FetchRequest {
	req := request(version, asks...)
	req.MaxWaitMillis, req.MinBytes = int32(wait.Milliseconds()), minBytes
	return req
}

func TestLongPoll(t *testing.T) {
	const wait = 10 * time.Second
	both := []ask{{topic: "a", partition: 0}, {topic: "a", partition: 1}}
	tests := []struct {
		name    string
		req     *kmsg.FetchRequest
		during  func(s *stage) // after a second
		elapsed time.Duration
		batches int
	}{
		{"nothing comes", poll(12, wait, 1, both...), nil, wait, 0},
		{"records come", poll(12, wait, 1, both...), func(s *stage) { s.produce("a", 1, 10) }, time.Second, 1},
		{"records come that are not committed", poll(12, wait, 1, both...), func(s *stage) {
			s.log("a", 0).auto = false
			s.produce("a", 0, 10)
		}, wait, 0},
		{"too few records come", poll(12, wait, 3000, both...), func(s *stage) { s.produce("a", 1, 1000) }, wait, 1},
		{"enough records come, over all partitions", poll(12, wait, 3000, both...), func(s *stage) {
			s.produce("a", 0, 1000)
			synctest.Wait()
			s.produce("a", 1, 1000)
			synctest.Wait()
			time.Sleep(time.Second)
			s.produce("a", 0, 1000)
		}, 2 * time.Second, 3},
		{"min_bytes above max_bytes", func() *kmsg.FetchRequest {
			r := poll(12, wait, 1<<20, both...)
			r.MaxBytes = 100
			return r
		}(), func(s *stage) { s.produce("a", 0, 200) }, time.Second, 1},
		{"no bytes are waited for", poll(12, wait, 0, both...), nil, 0, 0},
		{"no time to wait", poll(12, 0, 1, both...), nil, 0, 0},
		{"a negative time", poll(12, -time.Second, 1, both...), nil, 0, 0},
		{"only topics that do not exist", poll(12, wait, 1, ask{topic: "x"}), nil, 0, 0},
		{"a topic that does not exist beside one that does", poll(12, wait, 1, append(both, ask{topic: "x"})...), nil, wait, 0},
		{"an offset out of range", poll(12, wait, 1, append(both, ask{topic: "b", offset: 7})...), nil, 0, 0},
		{"no partitions", poll(12, wait, 1), nil, 0, 0},
		{"the partition is closed", poll(12, wait, 1, both...), func(s *stage) {
			s.partitions[partitionKey{topicID: topicID("a"), partition: 1}].Close(context.Background())
		}, time.Second, 0},
		{"the server stops", poll(12, wait, 3000, both...), func(s *stage) {
			s.produce("a", 1, 1000)
			synctest.Wait()
			close(s.stopping)
		}, time.Second, 1},
		{"records are deleted under the reader", poll(12, wait, 1, both...), func(s *stage) {
			s.log("a", 0).auto = false // so that only the start moves
			p := s.partitions[partitionKey{topicID: topicID("a")}]
			s.produce("a", 0, 10)
			s.log("a", 0).commit()
			p.DeleteBefore(context.Background(), 1)
		}, time.Second, 0},
		{"read committed", func() *kmsg.FetchRequest {
			r := poll(12, wait, 1, both...)
			r.IsolationLevel = 1
			return r
		}(), func(s *stage) { s.produce("a", 1, 10) }, time.Second, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				s.create("a", 2)
				s.create("b", 1)
				begun := time.Now()
				var resp *kmsg.FetchResponse
				var elapsed time.Duration
				done := make(chan struct{})
				go func() {
					defer close(done)
					resp = s.fetch(t.Context(), test.req)
					elapsed = time.Since(begun)
				}()
				time.Sleep(time.Second)
				if test.during != nil {
					test.during(s)
				}
				<-done
				if elapsed != test.elapsed {
					t.Errorf("answered after %v, want %v", elapsed, test.elapsed)
				}
				batches := 0
				for _, topic := range resp.Topics {
					for _, p := range topic.Partitions {
						batches += count(t, p.RecordBatches)
					}
				}
				if batches != test.batches {
					t.Errorf("%d batches, want %d", batches, test.batches)
				}
			})
		})
	}
}

func TestClientGoesAwayDuringAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.create("a", 1)
		s.produce("a", 0, 100) // some, but not enough: the poll has read it once
		ctx, leave := context.WithCancel(t.Context())
		go func() {
			time.Sleep(time.Second)
			leave()
		}()
		begun := time.Now()
		resp := s.fetch(ctx, poll(12, time.Hour, 1000, ask{topic: "a"}))
		if d := time.Since(begun); d != time.Second {
			t.Errorf("answered after %v, want a second", d)
		}
		if p := s.expect(resp, "a", 0, nil); len(p.RecordBatches) != 0 {
			t.Error("records were read for somebody who is gone")
		}
	})
}

// sessionRequest is a request of a session.
func sessionRequest(version int16, id, epoch int32, asks ...ask) *kmsg.FetchRequest {
	req := request(version, asks...)
	req.SessionID, req.SessionEpoch = id, epoch
	return req
}

func TestIncrementalFetch(t *testing.T) {
	for _, version := range []int16{7, 11, 12, 13, 18} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			s := newStage(t)
			s.create("a", 2)
			s.create("b", 1)
			resp := s.fetch(t.Context(), sessionRequest(version, 0, initialEpoch, ask{topic: "a"}, ask{topic: "a", partition: 1}, ask{topic: "b"}))
			id := resp.SessionID
			if id == 0 || resp.ErrorCode != 0 || part(resp, "a", 0) == nil || part(resp, "a", 1) == nil || part(resp, "b", 0) == nil {
				t.Fatalf("the full fetch: %+v", resp)
			}
			resp = s.fetch(t.Context(), sessionRequest(version, id, 1))
			if resp.SessionID != id || len(resp.Topics) != 0 {
				t.Errorf("nothing new, and the answer is %+v", resp)
			}
			s.produce("a", 1, 10)
			resp = s.fetch(t.Context(), sessionRequest(version, id, 2))
			p := s.expect(resp, "a", 1, nil)
			if count(t, p.RecordBatches) != 1 || part(resp, "a", 0) != nil || part(resp, "b", 0) != nil {
				t.Errorf("the answer to one batch: %+v", resp)
			}
			// The client has it, and forgets another partition.
			req := sessionRequest(version, id, 3, ask{topic: "a", partition: 1, offset: 1})
			forgotten := kmsg.NewFetchRequestForgottenTopic()
			forgotten.Topic, forgotten.TopicID, forgotten.Partitions = "b", topicID("b"), []int32{0}
			req.ForgottenTopics = append(req.ForgottenTopics, forgotten)
			if resp = s.fetch(t.Context(), req); len(resp.Topics) != 0 {
				t.Errorf("nothing new, and the answer is %+v", resp)
			}
			s.produce("b", 0, 10)
			if resp = s.fetch(t.Context(), sessionRequest(version, id, 4)); len(resp.Topics) != 0 {
				t.Errorf("the answer has a partition that was forgotten: %+v", resp)
			}
			if st := s.Stats(); st.Sessions != 1 || st.SessionPartitions != 2 {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestSessionErrors(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	id := s.fetch(t.Context(), sessionRequest(13, 0, initialEpoch, ask{topic: "a"})).SessionID
	for _, test := range []struct {
		name string
		req  *kmsg.FetchRequest
		want *kerr.Error
	}{
		{"unknown session", sessionRequest(13, id^1, 1), kerr.FetchSessionIDNotFound},
		{"wrong epoch", sessionRequest(13, id, 2), kerr.InvalidFetchSessionEpoch},
		{"names in a session of ids", sessionRequest(12, id, 1), kerr.FetchSessionTopicIDError},
	} {
		resp := s.fetch(t.Context(), test.req)
		if resp.ErrorCode != test.want.Code || resp.SessionID != 0 || len(resp.Topics) != 0 {
			t.Errorf("%s: code %d, session %d, %d topics, want code %d and nothing else",
				test.name, resp.ErrorCode, resp.SessionID, len(resp.Topics), test.want.Code)
		}
	}
}

// A poll of a session is overtaken by another request with the next epoch, from a client that has lost patience.
func TestPollIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.create("a", 1)
		id := s.fetch(t.Context(), sessionRequest(12, 0, initialEpoch, ask{topic: "a"})).SessionID
		slow := sessionRequest(12, id, 1)
		slow.MaxWaitMillis, slow.MinBytes = 10_000, 1
		answers := make(chan *kmsg.FetchResponse)
		go func() { answers <- s.fetch(t.Context(), slow) }()
		synctest.Wait()
		if resp := s.fetch(t.Context(), sessionRequest(12, id, 2)); resp.ErrorCode != 0 {
			t.Errorf("the next request: code %d", resp.ErrorCode)
		}
		s.produce("a", 0, 10)
		resp := <-answers
		if resp.ErrorCode != kerr.InvalidFetchSessionEpoch.Code || resp.SessionID != id || len(resp.Topics) != 0 {
			t.Errorf("the poll: %+v", resp)
		}
	})
}

// What a client is told while it goes on asking for a topic that is deleted, and perhaps made anew.
func TestTopicIsDeletedUnderASession(t *testing.T) {
	for _, test := range []struct {
		version  int16
		recreate bool
		want     *kerr.Error
	}{
		{12, false, kerr.UnknownTopicOrPartition},
		{12, true, nil}, // by name there is no telling the two apart
		{13, false, kerr.UnknownTopicOrPartition},
		{13, true, kerr.InconsistentTopicID},
	} {
		t.Run(fmt.Sprintf("v%d, recreated: %v", test.version, test.recreate), func(t *testing.T) {
			s := newStage(t)
			s.create("a", 1)
			id := s.fetch(t.Context(), sessionRequest(test.version, 0, initialEpoch, ask{topic: "a"})).SessionID
			s.drop("a")
			if test.recreate {
				s.createAs("a", topicID("another a"), 1)
			}
			resp := s.fetch(t.Context(), sessionRequest(test.version, id, 1))
			if test.want == nil {
				if len(resp.Topics) != 0 {
					t.Errorf("the answer has %+v", resp.Topics)
				}
				return
			}
			s.expect(resp, "a", 0, test.want)
			// It is told each time.
			s.expect(s.fetch(t.Context(), sessionRequest(test.version, id, 2)), "a", 0, test.want)
		})
	}
}

// A session takes up an id before its topic is known here, and reads it once it is.
func TestTopicAppearsUnderASession(t *testing.T) {
	s := newStage(t)
	resp := s.fetch(t.Context(), sessionRequest(13, 0, initialEpoch, ask{topic: "a"}))
	s.expect(resp, "a", 0, kerr.UnknownTopicID)
	s.create("a", 1)
	resp = s.fetch(t.Context(), sessionRequest(13, resp.SessionID, 1))
	if p := s.expect(resp, "a", 0, nil); p.HighWatermark != 0 {
		t.Errorf("%+v", p)
	}
}

// The order of topics in an answer may split a topic, but must never mix two.
func TestPartitionsAreGroupedByTopic(t *testing.T) {
	s := newStage(t)
	s.create("a", 3)
	s.create("b", 1)
	for _, version := range []int16{12, 13} {
		resp := s.fetch(t.Context(), request(version, ask{topic: "a"}, ask{topic: "a", partition: 1}, ask{topic: "b"}, ask{topic: "a", partition: 2}))
		var got []string
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				got = append(got, fmt.Sprintf("%s%x-%d", topic.Topic, topic.TopicID[:1], p.Partition))
			}
		}
		want := []string{"a00-0", "a00-1", "b00-0", "a00-2"}
		if version >= topicIDVersion {
			want = []string{"61-0", "61-1", "62-0", "61-2"}
		}
		if !slices.Equal(got, want) || len(resp.Topics) != 3 {
			t.Errorf("v%d: %v in %d topics, want %v in 3", version, got, len(resp.Topics), want)
		}
	}
}

// A poll that is woken by too little looks again only when there is more.
func TestPollDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.create("a", 1)
		s.produce("a", 0, 100)
		s.fetch(t.Context(), poll(12, time.Minute, 1000, ask{topic: "a"}))
		if reads := s.log("a", 0).reads; reads != 2 { // at the beginning and at the end
			t.Errorf("%d reads, want 2", reads)
		}
	})
}
