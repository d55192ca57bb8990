package oracle

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchSessionsScenario is about incremental fetches.
func fetchSessionsScenario() scenario {
	return scenario{name: "fetch_sessions", cases: slices.Concat(sessionPartitions(), sessionEpochs(), sessionNews())}
}

// sessionPartitions is about what a session has.
func sessionPartitions() []oneCase {
	return []oneCase{
		{name: "a session", api: kmsg.Fetch, from: 7, run: func(c *client) {
			t := c.topic("t", 2)
			produceTo(c, t, 0, values("a"))
			req := fetchRequest(t, 0, 0)
			addFetch(req, t, 1, 0)
			s := open(c, req)
			s.next()                                     // the same again, as far as there are records
			s.next(fetchRequest(t, 0, 1))                // nothing new
			s.next()                                     //
			produceTo(c, t, 1, values("b"), values("c")) //
			s.next()                                     // what is new
			s.next(fetchRequest(t, 1, 2))
			s.next(fetchRequest(t, 1, 1))
		}},
		{name: "a session that waits", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			s := open(c, fetchRequest(t, 0, 0))
			s.wait = 20
			s.nextAfter(20 * time.Millisecond)
			produceTo(c, t, 0, values("a"))
			s.wait = 20_000
			s.next()
		}},
		{name: "partitions that come and go", api: kmsg.Fetch, from: 7, run: func(c *client) {
			t, u := c.topic("t", 2), c.topic("u", 1)
			produceTo(c, t, 0, values("a"))
			produceTo(c, u, 0, values("b"))
			s := open(c, fetchRequest(t, 0, 0))
			s.next(fetchRequest(u, 0, 0), fetchRequest(t, 1, 0))
			s.forget(t, 0)
			s.forget(t, 0)    // which is not there
			s.forget(t, 7)    // which has never been
			s.forget(u, 0, 0) // twice
			s.next(fetchRequest(t, 0, 0))
			s.next()
		}},
		{name: "a partition that is asked for and forgotten", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 2)
			produceTo(c, t, 0, values("a"))
			produceTo(c, t, 1, values("b"))
			s := open(c, fetchRequest(t, 0, 0))
			s.forgotten = forgotten(t, 0, 1)
			s.next(fetchRequest(t, 1, 0), fetchRequest(t, 0, 0))
		}},
		{name: "the last partition is forgotten", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			s := open(c, fetchRequest(t, 0, 0))
			s.forget(t, 0)
			s.next()
		}},
		{name: "a partition twice", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"), values("b"))
			req := fetchRequest(t, 0, 0)
			addFetch(req, t, 0, 1)
			s := open(c, req)
			s.next()
			s.next(fetchRequest(t, 0, 0), fetchRequest(t, 0, 1))
		}},
	}
}

// sessionEpochs is about requests that are the next one, or not.
func sessionEpochs() []oneCase {
	return []oneCase{
		{name: "epochs that are not next", api: kmsg.Fetch, from: 7, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			s := open(c, fetchRequest(t, 0, 0))
			for _, epoch := range []int32{2, 3, -2, 2147483647, 1, 1, 2} {
				s.epoch = epoch
				s.next()
			}
		}},
		{name: "sessions that there are not", api: kmsg.Fetch, from: 7, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			for _, s := range []session{{id: 0, epoch: 1}, {id: 1, epoch: 1}, {id: -1, epoch: 7}, {id: 1, epoch: 0}, {id: 1, epoch: -1}, {id: 0, epoch: -2}} {
				s.client = c
				s.next(fetchRequest(t, 0, 0))
			}
		}},
		{name: "a session that is ended", api: kmsg.Fetch, from: 7, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			s := open(c, fetchRequest(t, 0, 0))
			s.epoch = -1
			s.next(fetchRequest(t, 0, 1))
			s.epoch = 1
			s.next()
			s = open(c, fetchRequest(t, 0, 0))
			s.epoch = -1
			s.next()
		}},
		{name: "a session in place of another", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 2)
			produceTo(c, t, 0, values("a"))
			s := open(c, fetchRequest(t, 0, 0))
			old := s
			s.epoch = 0
			resp := s.next(fetchRequest(t, 1, 0))
			old.next()
			s.id, s.epoch = resp.SessionID, 1
			s.next()
		}},
		{name: "a session of nothing", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			req := fetchRequest(t, 0, 0)
			req.Topics = nil
			s := open(c, req)
			s.next(fetchRequest(t, 0, 0))
		}},
		{name: "a session and another connection", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			s := open(c, fetchRequest(t, 0, 0))
			s.client = c.another()
			s.next()
		}},
	}
}

// sessionNews is about what happens under a session.
func sessionNews() []oneCase {
	return []oneCase{
		{name: "errors in a session", api: kmsg.Fetch, from: 7, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			req := fetchRequest(t, 0, 7)
			addFetch(req, t, 1, 0)
			s := open(c, req)
			s.next() // told again
			s.next(fetchRequest(t, 0, 1))
			s.next()
			s.next(fetchRequest(t, 0, 9))
			s.next(fetchRequest(t, 0, 1))
		}},
		{name: "a topic that is made under a session", api: kmsg.Fetch, from: 11, to: 12, run: func(c *client) {
			missing := topic{name: c.fresh("made")}
			s := open(c, fetchRequest(missing, 0, 0))
			s.next()
			missing.id = do[*kmsg.CreateTopicsResponse](c, createRequest(newTopic(missing.name, 1))).Topics[0].TopicID
			c.names.epoch = c.lead(missing, 1)
			produceTo(c, missing, 0, values("a"))
			s.next()
		}},
		{name: "a topic that is deleted under a session", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t, u := c.topic("t", 1), c.topic("u", 1)
			produceTo(c, t, 0, values("a"))
			req := fetchRequest(t, 0, 0)
			addFetch(req, u, 0, 0)
			s := open(c, req)
			c.remove(t)
			s.next()
			s.next()
			again := do[*kmsg.CreateTopicsResponse](c, createRequest(newTopic(t.name, 1))).Topics[0].TopicID
			c.names.ids[again] = "<new id of t>"
			c.lead(t, 1)
			s.next()
		}},
		{name: "an id that there is not, in a session", api: kmsg.Fetch, from: 13, run: func(c *client) {
			t, missing := c.topic("t", 1), c.missing("missing")
			req := fetchRequest(t, 0, 0)
			addFetch(req, missing, 0, 0)
			s := open(c, req)
			s.next()
			s.forget(missing, 0)
			s.next()
		}},
		{name: "names and ids in one session", api: kmsg.Fetch, from: 12, to: 13, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			s := open(c, fetchRequest(t, 0, 0))
			s.client = c.connect(c.api, 12+13-c.version)
			s.next()
			s.client = c
			s.epoch = 1
			s.next()
		}},
		{name: "the log's start moves", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a", "b", "c"))
			s := open(c, fetchRequest(t, 0, 3))
			s.next()
			c.deleteBefore(t, 2)
			s.next()
			s.next()
		}},
		{name: "who is read first", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 3)
			req := fetchRequest(t, 0, 0)
			for p := range int32(3) {
				produceTo(c, t, p, values("a"))
				if p > 0 {
					addFetch(req, t, p, 0)
				}
			}
			req.MaxBytes = 1 // one batch for each answer
			s := open(c, req)
			s.maxBytes = 1
			for range 4 {
				s.next()
			}
		}},
		{name: "a divergence in a session", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			req := fetchRequest(t, 0, 5)
			req.Topics[0].Partitions[0].LastFetchedEpoch = c.names.epoch
			s := open(c, req)
			s.next()
			s.next(fetchRequest(t, 0, 1))
			s.next()
		}},
	}
}

// fetchLimitsScenario is about what the broker bounds.
func fetchLimitsScenario() scenario {
	settings := []string{"max.incremental.fetch.session.cache.slots=0", "fetch.max.bytes=1024"}
	return scenario{name: "fetch_limits", settings: settings, cases: []oneCase{
		{name: "no room for sessions", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			s := open(c, fetchRequest(t, 0, 0))
			s.next()
			s.id = 1
			s.next()
			s.epoch = -1
			s.next(fetchRequest(t, 0, 0))
		}},
		{name: "all bytes", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 2)
			large := strings.Repeat("x", 500)
			for p := range int32(2) {
				produceTo(c, t, p, values(large), values(large))
			}
			req := fetchRequest(t, 0, 0)
			addFetch(req, t, 1, 0)
			req.MinBytes, req.MaxWaitMillis = 1<<20, 20
			ask[*kmsg.FetchResponse](c, req)
			req = fetchRequest(t, 0, 2)
			addFetch(req, t, 1, 1)
			ask[*kmsg.FetchResponse](c, req)
		}},
	}}
}

// session is a session as its client knows it.
type session struct {
	*client
	id, epoch int32
	wait      int32                             // milliseconds
	maxBytes  int32                             // 0 for many
	forgotten []kmsg.FetchRequestForgottenTopic // by the next request
}

// open asks for a session.
func open(c *client, req *kmsg.FetchRequest) session {
	c.t.Helper()
	req.SessionEpoch = 0
	return session{client: c, id: ask[*kmsg.FetchResponse](c, req).SessionID, epoch: 1}
}

// next sends the session's next request, which names the partitions that others name.
func (s *session) next(with ...*kmsg.FetchRequest) *kmsg.FetchResponse {
	s.t.Helper()
	return ask[*kmsg.FetchResponse](s.client, s.request(with...))
}

// nextAfter is next of what must not be answered before a time has gone by.
func (s *session) nextAfter(least time.Duration) {
	s.t.Helper()
	askAfter[*kmsg.FetchResponse](s.client, least, s.request())
}

func (s *session) request(with ...*kmsg.FetchRequest) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes, req.MaxWaitMillis = 1, 1<<20, s.wait
	req.SessionID, req.SessionEpoch, req.ForgottenTopics = s.id, s.epoch, s.forgotten
	if s.maxBytes > 0 {
		req.MaxBytes = s.maxBytes
	}
	for _, other := range with {
		req.Topics = append(req.Topics, other.Topics...)
	}
	s.epoch, s.forgotten = s.epoch+1, nil
	return req
}

// forget is next that takes partitions out of the session.
func (s *session) forget(t topic, partitions ...int32) {
	s.t.Helper()
	s.forgotten = forgotten(t, partitions...)
	s.next()
}

func forgotten(t topic, partitions ...int32) []kmsg.FetchRequestForgottenTopic {
	ft := kmsg.NewFetchRequestForgottenTopic()
	ft.Topic, ft.TopicID, ft.Partitions = t.name, t.id, partitions
	return []kmsg.FetchRequestForgottenTopic{ft}
}
