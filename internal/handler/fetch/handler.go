package fetch

import (
	"context"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/placement"
	"segue/internal/server"
	"segue/protocol"
	"segue/storage/record"
)

// The versions of Fetch at which something changes.
const (
	storageErrorVersion = 6  // clients know KAFKA_STORAGE_ERROR
	topicIDVersion      = 13 // topics are named by id (KIP-516)
	replicaStateVersion = 15 // the replica id is in a tagged field (KIP-903)
	leaderHintVersion   = 16 // answers tell who leads (KIP-951)
)

// maxCachedPartitions bounds the partitions in all sessions together unless configured otherwise. It takes some
// 250 MiB, and a million partitions in use by clients, to come near it.
const maxCachedPartitions = 1 << 20

// Lookup finds a partition that this broker leads. Its errors wrap a *kerr.Error.
type Lookup func(topicID [16]byte, partition int32) (Partition, error)

// Config is what a Handler is made of.
type Config struct {
	Log zerolog.Logger
	// Topics returns the topics as they are now. A request uses one answer throughout.
	Topics func() Topics
	Lookup Lookup
	View   interface {
		Leader(topicID [16]byte, partition int32) placement.Leader
		Brokers(listener string) []placement.Broker
	}

	// Sessions is how many fetch sessions are kept (max.incremental.fetch.session.cache.slots).
	Sessions int
	// Partitions bounds the partitions in all sessions together; 0 stands for a million.
	Partitions int
	// MaxBytes bounds what one answer holds (fetch.max.bytes), read anew for each request.
	MaxBytes func() int
}

// Handler answers Fetch. Its methods are safe for concurrent use.
type Handler struct {
	config   Config
	sessions *cache
	epoch    time.Time // that waits are aligned to
}

// No more than failuresLogged failures are logged in a period: a client that meets damage asks again at once, for ever.
const (
	failuresLogged = 10
	failuresPeriod = 10 * time.Second
)

// New returns a Handler. It owns no goroutine and need not be closed.
func New(c Config) *Handler {
	if c.Partitions <= 0 {
		c.Partitions = maxCachedPartitions
	}
	c.Log = c.Log.Sample(&zerolog.BurstSampler{Burst: failuresLogged, Period: failuresPeriod})
	return &Handler{config: c, sessions: newCache(c.Sessions, c.Partitions), epoch: time.Now()}
}

// Stats is what a Handler counts.
type Stats struct {
	Sessions          int   // that are kept now
	SessionPartitions int   // in all of them
	Evictions         int64 // of a session for a new one, of all time
}

// Stats may be called at any time.
func (h *Handler) Stats() (s Stats) {
	s.Sessions, s.SessionPartitions, s.Evictions = h.sessions.stats()
	return s
}

// Handle answers a request; it is a server.Handler. Its context ends the wait for more records.
func (h *Handler) Handle(ctx context.Context, r *server.Request) (server.Response, error) {
	req := r.Message.(*kmsg.FetchRequest)
	if isFromFollower(req) {
		return h.refuseFollower(r), nil
	}
	byID := req.Version >= topicIDVersion
	x, err := h.sessions.begin(time.Now(), req.SessionID, req.SessionEpoch, byID, wanted(req), forgotten(req))
	if err != nil {
		return &protocol.FetchResponse{Err: codeOf(err).Code}, nil
	}
	p := newPlan(h.config.Topics(), byID, x.targets, h.config.Lookup)
	p.readCommitted = req.IsolationLevel == 1
	p.maxBytes = max(0, min(int(req.MaxBytes), h.config.MaxBytes()))
	p.minBytes = min(int(req.MinBytes), p.maxBytes)
	p.stopping = r.Stopping
	p.epoch = h.epoch
	p.run(ctx, time.Duration(req.MaxWaitMillis)*time.Millisecond)
	h.logFailures(p, r.Client)
	return h.answer(r, x, p), nil
}

// wanted lists the partitions that a request names.
func wanted(req *kmsg.FetchRequest) []target {
	var targets []target
	for i := range req.Topics {
		t := &req.Topics[i]
		for _, p := range t.Partitions {
			targets = append(targets, target{
				key:              keyOf(req.Version, t.Topic, t.TopicID, p.Partition),
				offset:           record.Offset(p.FetchOffset),
				maxBytes:         p.PartitionMaxBytes,
				currentEpoch:     max(p.CurrentLeaderEpoch, -1), // as in Kafka, for this API alone
				lastFetchedEpoch: p.LastFetchedEpoch,
			})
		}
	}
	return targets
}

// forgotten lists the partitions that a request takes out of its session.
func forgotten(req *kmsg.FetchRequest) []partitionKey {
	var keys []partitionKey
	for _, t := range req.ForgottenTopics {
		for _, p := range t.Partitions {
			keys = append(keys, keyOf(req.Version, t.Topic, t.TopicID, p))
		}
	}
	return keys
}

func keyOf(version int16, topic string, id [16]byte, partition int32) partitionKey {
	if version >= topicIDVersion {
		return partitionKey{topicID: id, partition: partition}
	}
	return partitionKey{topic: topic, partition: partition}
}

// isFromFollower tells a replica's fetch from a consumer's; replica id -2 is a debugging consumer.
func isFromFollower(req *kmsg.FetchRequest) bool {
	if req.Version >= replicaStateVersion {
		return req.ReplicaState.ID >= 0
	}
	return req.ReplicaID >= 0
}

// refuseFollower answers as a leader does to a replica that is not one of its partition's (Partition.fetchRecords), which
// none is here. It keeps no session.
func (h *Handler) refuseFollower(r *server.Request) *protocol.FetchResponse {
	req := r.Message.(*kmsg.FetchRequest)
	p := newPlan(h.config.Topics(), req.Version >= topicIDVersion, wanted(req), h.config.Lookup)
	resp := &protocol.FetchResponse{}
	for i := range p.readings {
		reading := &p.readings[i]
		var leader placement.Leader
		if reading.source != nil {
			leader = h.config.View.Leader(reading.topicID, reading.key.partition)
			switch epoch := reading.currentEpoch; {
			case epoch < 0:
				reading.err = kerr.NotLeaderForPartition
			case epoch < leader.Epoch:
				reading.err = kerr.FencedLeaderEpoch
			default:
				reading.err = kerr.UnknownLeaderEpoch
			}
		}
		part := reading.answer(req.Version, false)
		if req.Version >= leaderHintVersion && leaderMoved(reading.err) {
			part.CurrentLeader = &protocol.LeaderEpoch{LeaderID: leader.NodeID, LeaderEpoch: leader.Epoch}
		}
		addPartition(resp, reading, part)
	}
	return resp
}

// addPartition adds the answer for one partition. Partitions of a topic that follow each other share an entry.
func addPartition(resp *protocol.FetchResponse, r *reading, part protocol.FetchPartition) {
	if n := len(resp.Topics); n == 0 || resp.Topics[n-1].ID != r.topicID || resp.Topics[n-1].Name != r.topic {
		resp.Topics = append(resp.Topics, protocol.FetchTopic{Name: r.topic, ID: r.topicID})
	}
	topic := &resp.Topics[len(resp.Topics)-1]
	topic.Partitions = append(topic.Partitions, part)
}

// answer turns what was read into the response. The chunks are its from here on.
func (h *Handler) answer(r *server.Request, x *exchange, p *plan) *protocol.FetchResponse {
	for i := range x.targets {
		x.targets[i].topic = p.readings[i].topic // the session remembers the name of an id
	}
	id, told, err := x.finish(time.Now(), func(i int) standing { return p.readings[i].standing() })
	resp := &protocol.FetchResponse{SessionID: id}
	if err != nil {
		p.releaseChunks()
		resp.Err = codeOf(err).Code
		return resp
	}
	var leaders leaderHints
	for i := range p.readings {
		reading := &p.readings[i]
		if told != nil && !told[i] {
			reading.result.Chunk.Release() // of a partition that the session has lost meanwhile, if of any
			continue
		}
		part := reading.answer(r.Version, p.readCommitted)
		if r.Version >= leaderHintVersion && leaderMoved(reading.err) {
			part.CurrentLeader = leaders.add(h.config.View.Leader(reading.topicID, reading.key.partition))
		}
		addPartition(resp, reading, part)
	}
	resp.Nodes = leaders.endpoints(h.config.View.Brokers(r.Client.Listener))
	return resp
}

// answer is what the response says of one partition.
func (r *reading) answer(version int16, readCommitted bool) protocol.FetchPartition {
	if r.err != nil {
		code := r.err.Code
		if r.err == kerr.KafkaStorageError && version < storageErrorVersion {
			code = kerr.NotLeaderForPartition.Code // which old clients know, and try again on
		}
		p := protocol.NewFetchPartition(r.key.partition, code)
		if r.err == kerr.UnknownTopicOrPartition || r.err == kerr.UnknownTopicID {
			p.Aborted = []protocol.AbortedTransaction{} // as Kafka says of what is not there, and of nothing else
		}
		return p
	}
	p := protocol.NewFetchPartition(r.key.partition, 0)
	p.HighWatermark = int64(r.result.HighWatermark)
	p.LastStable = int64(r.result.LastStable)
	p.LogStart = int64(r.result.LogStart)
	p.Chunk = r.result.Chunk
	if readCommitted {
		p.Aborted = make([]protocol.AbortedTransaction, 0, len(r.result.Aborted)) // null says "not asked"
		for _, a := range r.result.Aborted {
			p.Aborted = append(p.Aborted, protocol.AbortedTransaction{ProducerID: a.ProducerID, FirstOffset: int64(a.FirstOffset)})
		}
	}
	if d := r.result.Diverging; d != nil {
		p.Diverging = &protocol.EpochEnd{Epoch: d.Epoch, EndOffset: int64(d.End)}
	}
	return p
}

// leaderMoved tells whether an error is about who leads.
func leaderMoved(err *kerr.Error) bool {
	return err == kerr.NotLeaderForPartition || err == kerr.FencedLeaderEpoch
}

// leaderHints are the brokers that an answer names as leaders.
type leaderHints struct{ nodes []int32 }

func (l *leaderHints) add(leader placement.Leader) *protocol.LeaderEpoch {
	if !slices.Contains(l.nodes, leader.NodeID) {
		l.nodes = append(l.nodes, leader.NodeID)
	}
	return &protocol.LeaderEpoch{LeaderID: leader.NodeID, LeaderEpoch: leader.Epoch}
}

func (l *leaderHints) endpoints(brokers []placement.Broker) []protocol.NodeEndpoint {
	var nodes []protocol.NodeEndpoint
	for _, b := range brokers {
		if slices.Contains(l.nodes, b.NodeID) {
			nodes = append(nodes, protocol.NodeEndpoint{NodeID: b.NodeID, Host: b.Host, Port: b.Port, Rack: b.Rack})
		}
	}
	return nodes
}

// logFailures logs what is wrong with this broker rather than with the request. Clients ask again and again, so the
// log is a sample.
func (h *Handler) logFailures(p *plan, c *server.Client) {
	for i := range p.readings {
		switch r := &p.readings[i]; r.err {
		case kerr.UnknownServerError, kerr.KafkaStorageError, kerr.CorruptMessage:
			h.config.Log.Error().Err(r.cause).Str("topic", r.topic).Int32("partition", r.key.partition).
				Int64("offset", int64(r.offset)).Uint64("conn", c.ID).Msg("fetch failed")
		}
	}
}
