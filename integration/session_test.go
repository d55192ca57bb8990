//go:build integration && unix

package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// inSession makes a request one of a session.
func inSession(req *kmsg.FetchRequest, id, epoch int32) *kmsg.FetchRequest {
	req.SessionID, req.SessionEpoch = id, epoch
	return req
}

// forgetting takes a partition out of the session.
func forgetting(req *kmsg.FetchRequest, w wanted) *kmsg.FetchRequest {
	t := kmsg.NewFetchRequestForgottenTopic()
	t.Topic, t.TopicID, t.Partitions = w.topic, w.id, []int32{w.partition}
	req.ForgottenTopics = append(req.ForgottenTopics, t)
	return req
}

// sessionVersions are versions of Fetch with sessions (KIP-227), in which topics have names, and ids.
var sessionVersions = []int16{7, 12, 13, 18}

// TestFetchSession follows a session through all that may happen in it.
func TestFetchSession(t *testing.T) {
	b := start(t)
	for _, version := range sessionVersions {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			topic := fmt.Sprint("t", version)
			b.createTopic(t, topic, 3)
			w := b.dial(t)
			id := w.topicID(topic)
			part := func(n int32, offset int64) wanted { return wanted{topic, id, n, offset} }
			fetch := func(session, epoch int32, parts ...wanted) *kmsg.FetchRequest {
				return inSession(fetchRequest(version, 0, 1, parts...), session, epoch)
			}

			resp := ask[*kmsg.FetchResponse](w, fetch(0, 0, part(0, 0), part(1, 0)))
			session := resp.SessionID
			if session == 0 || fetched(resp, part(0, 0)) == nil || fetched(resp, part(1, 0)) == nil {
				t.Fatalf("the full fetch: %+v", resp)
			}

			// Nothing is new: nothing is named, after the time that the request may wait.
			req := fetch(session, 1)
			req.MaxWaitMillis = int32(still.Milliseconds())
			took := elapsed(func() { resp = ask[*kmsg.FetchResponse](w, req) })
			if took < still || resp.SessionID != session || len(resp.Topics) != 0 {
				t.Errorf("nothing new: %+v after %v", resp, took)
			}

			// One partition has news: it alone is named. The request names none.
			w.produce(topic, 1, batchOf(t, "a", "b"))
			resp = ask[*kmsg.FetchResponse](w, fetch(session, 2))
			if n := len(valuesOf(t, fetched(resp, part(1, 0)))); n != 2 || fetched(resp, part(0, 0)) != nil {
				t.Errorf("%d records of partition 1: %+v", n, resp)
			}

			// The client goes on from there, and adds a partition.
			resp = ask[*kmsg.FetchResponse](w, fetch(session, 3, part(1, 2), part(2, 0)))
			if fetched(resp, part(0, 0)) != nil || fetched(resp, part(1, 0)) != nil || fetched(resp, part(2, 0)) == nil {
				t.Errorf("a partition is added: %+v", resp)
			}

			// It forgets one, which is not named any more whatever comes.
			ask[*kmsg.FetchResponse](w, forgetting(fetch(session, 4), part(1, 0)))
			w.produce(topic, 1, batchOf(t, "c"))
			w.produce(topic, 0, batchOf(t, "d"))
			resp = ask[*kmsg.FetchResponse](w, fetch(session, 5))
			if n := len(valuesOf(t, fetched(resp, part(0, 0)))); n != 1 || fetched(resp, part(1, 0)) != nil {
				t.Errorf("a partition is forgotten: %d records of partition 0: %+v", n, resp)
			}

			// An error of a partition is named, at each fetch, until it has gone.
			for epoch := int32(6); epoch < 8; epoch++ {
				resp = ask[*kmsg.FetchResponse](w, fetch(session, epoch, part(0, 100)))
				if p := fetched(resp, part(0, 0)); p == nil {
					t.Errorf("a partition's error is not named: %+v", resp)
				} else {
					expectCode(t, "offset 100", p.ErrorCode, kerr.OffsetOutOfRange)
				}
			}
			resp = ask[*kmsg.FetchResponse](w, fetch(session, 8, part(0, 1)))
			if p := fetched(resp, part(0, 0)); p == nil || p.ErrorCode != 0 || p.HighWatermark != 1 {
				t.Errorf("the error has gone: %+v", resp)
			}

			// The end of the session; a fetch outside of it names everything.
			resp = ask[*kmsg.FetchResponse](w, fetch(session, -1, part(1, 0)))
			if n := len(valuesOf(t, fetched(resp, part(1, 0)))); n != 3 || resp.SessionID != 0 {
				t.Errorf("the last fetch: %d records: %+v", n, resp)
			}
			expectSessionError(t, w, fetch(session, 9), kerr.FetchSessionIDNotFound)
		})
	}
}

// expectSessionError expects an error of the whole fetch.
func expectSessionError(t *testing.T, w *wire, req *kmsg.FetchRequest, want *kerr.Error) {
	t.Helper()
	resp := ask[*kmsg.FetchResponse](w, req)
	expectCode(t, fmt.Sprintf("session %d, epoch %d", req.SessionID, req.SessionEpoch), resp.ErrorCode, want)
	if len(resp.Topics) != 0 {
		t.Errorf("an error with partitions: %+v", resp)
	}
}

// TestFetchSessionErrors: what does not fit is refused, and a session outlives that; it does not outlive the broker.
func TestFetchSessionErrors(t *testing.T) {
	b := start(t)
	for _, version := range sessionVersions {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			topic := fmt.Sprint("t", version)
			b.createTopic(t, topic, 1)
			w := b.dial(t)
			part := wanted{topic: topic, id: w.topicID(topic)}
			fetch := func(session, epoch int32, parts ...wanted) *kmsg.FetchRequest {
				return inSession(fetchRequest(version, 0, 1, parts...), session, epoch)
			}
			session := ask[*kmsg.FetchResponse](w, fetch(0, 0, part)).SessionID
			expectSessionError(t, w, fetch(session^1, 1), kerr.FetchSessionIDNotFound)
			expectSessionError(t, w, fetch(session, 2), kerr.InvalidFetchSessionEpoch)
			expectSessionError(t, w, fetch(session, 1), nil)
			expectSessionError(t, w, fetch(session, 1), kerr.InvalidFetchSessionEpoch)
			if other := int16(25) - version; version >= 12 && version <= 13 {
				expectSessionError(t, w, inSession(fetchRequest(other, 0, 1), session, 2), kerr.FetchSessionTopicIDError)
			}
			expectSessionError(t, w, fetch(session, 2), nil)

			b.restart()
			w = b.dial(t)
			expectSessionError(t, w, fetch(session, 3), kerr.FetchSessionIDNotFound)
		})
	}
}

// TestFetchSessionWakes: the long poll of a session hears partitions that its request does not name.
func TestFetchSessionWakes(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 2)
	w := b.dial(t)
	id := w.topicID("t")
	parts := []wanted{{"t", id, 0, 0}, {"t", id, 1, 0}}
	session := ask[*kmsg.FetchResponse](w, inSession(fetchRequest(17, 0, 1, parts...), 0, 0)).SessionID
	w.send(inSession(fetchRequest(17, time.Minute, 1), session, 1))
	w.staysQuiet(still)
	took := elapsed(func() {
		b.dial(t).produce("t", 1, batchOf(t, "news"))
		if v := valuesOf(t, fetched(answer[*kmsg.FetchResponse](w), parts[1])); len(v) != 1 {
			t.Errorf("values %q", v)
		}
	})
	if took > prompt {
		t.Errorf("answered %v after the produce", took)
	}
}
