package fetch

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/server"
	"segue/protocol"
)

// FuzzHandle has any request that decodes answered, twice, with a frame that a client can read.
func FuzzHandle(f *testing.F) {
	for _, version := range []int16{4, 7, 12, 13, 18} {
		f.Add(version, request(version, ask{topic: "a"}, ask{topic: "b", partition: 3, offset: 1}).AppendTo(nil))
		f.Add(version, sessionRequest(version, 0, initialEpoch, ask{topic: "a"}, ask{topic: "a"}).AppendTo(nil))
		f.Add(version, sessionRequest(version, 5, 2, ask{topic: "a", offset: -1, epoch: 3, fetched: 9}).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		h := protocol.Header{Key: int16(kmsg.Fetch), Version: version}
		if version < 4 || version > 18 {
			return
		}
		req, err := protocol.Decode(h, body)
		if err != nil {
			return
		}
		fetch := req.(*kmsg.FetchRequest)
		fetch.MaxWaitMillis = 0
		s := newStage(t)
		s.create("a", 2)
		s.produce("a", 0, 10)
		for range 2 { // the second time in the session that the first one may have made
			answer, err := s.Handle(t.Context(), &server.Request{Header: h, Message: fetch, Client: s.client, Received: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			parts, _, err := answer.Parts(h)
			if err != nil {
				t.Fatal(err)
			}
			var frame []byte
			for _, p := range parts {
				frame = append(frame, p.Bytes...)
				if frame, err = p.Chunk.AppendTo(frame); err != nil {
					t.Fatal(err)
				}
			}
			answer.Release()
			resp := kmsg.NewPtrFetchResponse()
			resp.Version = version
			skip := 8
			if resp.IsFlexible() {
				skip++
			}
			if err := resp.ReadFrom(frame[skip:]); err != nil {
				t.Fatalf("the answer cannot be read: %v", err)
			}
			fetch.SessionID, fetch.SessionEpoch, fetch.Topics = resp.SessionID, 1, nil
		}
	})
}
