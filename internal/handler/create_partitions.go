package handler

import (
	"context"
	"slices"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/placement"
	"segue/internal/server"
)

// createPartitions answers CreatePartitions by the rules of Kafka's ReplicationControlManager.createPartitions. The new
// partitions are open when it is answered, as those of a new topic are.
type createPartitions struct {
	log    zerolog.Logger
	broker context.Context // that commits run under
	store  catalogStore
	room   *partitionLimit
	view   interface {
		Brokers(listener string) []placement.Broker
	}
}

// growth is what a request wants of one topic, and what became of it.
type growth struct {
	asked *kmsg.CreatePartitionsRequestTopic
	err   *apiError
	topic *catalog.Topic // before it grows
}

func (h *createPartitions) handle(_ context.Context, c *server.Client, req *kmsg.CreatePartitionsRequest) *kmsg.CreatePartitionsResponse {
	growths := growthsIn(req)
	h.grow(h.view.Brokers(c.Listener), growths, req.ValidateOnly)
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	for _, g := range growths {
		t := kmsg.NewCreatePartitionsResponseTopic()
		t.Topic = g.asked.Topic
		if g.err != nil {
			t.ErrorCode, t.ErrorMessage = g.err.code.Code, g.err.message()
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// growthsIn lists what a request names, a topic that stands there twice once and refused.
func growthsIn(req *kmsg.CreatePartitionsRequest) []growth {
	growths := make([]growth, 0, len(req.Topics))
	named := make(map[string]int, len(req.Topics)) // to indexes in growths
	for i := range req.Topics {
		t := &req.Topics[i]
		if first, twice := named[t.Topic]; twice {
			growths[first].err = failure(kerr.InvalidRequest, "Duplicate topic name.")
			continue
		}
		named[t.Topic] = len(growths)
		growths = append(growths, growth{asked: t})
	}
	return growths
}

// grow lets all topics grow that can, in one commit, and completes all growths; with validateOnly it only does the
// latter.
func (h *createPartitions) grow(brokers []placement.Broker, growths []growth, validateOnly bool) {
	var judged []growth
	_, err := commitJudged(h.broker, h.store, func(image *catalog.Image) []catalog.Change {
		judged = slices.Clone(growths)
		changes := h.judge(image, brokers, judged)
		if validateOnly {
			return nil
		}
		return changes
	})
	var refusals []*apiError
	grown := 0
	for i := range judged {
		g := &judged[i]
		if g.err != nil {
			refusals = append(refusals, g.err)
			continue
		}
		grown++
		switch {
		case err != nil:
			g.err = plain(errorOf(err))
		case !validateOnly:
			h.log.Info().Str("topic", g.topic.Name).Int32("from", g.topic.Partitions).Int32("to", g.asked.Count).Msg("partitions created")
		}
	}
	if err != nil {
		h.log.Error().Err(err).Int("topics", grown).Msg("partitions could not be created")
	}
	h.room.note(refusals)
	copy(growths, judged)
}

// judge completes the growths with what speaks against them and returns the changes that the others are.
func (h *createPartitions) judge(image *catalog.Image, brokers []placement.Broker, growths []growth) []catalog.Change {
	var changes []catalog.Change
	more := int64(0) // partitions, of all topics
	for i := range growths {
		g := &growths[i]
		if g.err != nil {
			continue
		}
		if g.err = g.check(image, brokers); g.err != nil {
			continue
		}
		additional := g.asked.Count - g.topic.Partitions
		if more+int64(additional) > maxPartitionsPerRequest {
			g.err = failure(kerr.PolicyViolation, "Excessively large number of partitions per request.")
			continue
		}
		if g.err = h.room.check(image, g.topic.Name, int32(more)+additional); g.err != nil {
			continue
		}
		more += int64(additional)
		changes = append(changes, catalog.SetPartitions{ID: g.topic.ID, Partitions: g.asked.Count})
	}
	return changes
}

// check says why a topic cannot grow as it is asked to, and finds the topic.
func (g *growth) check(image *catalog.Image, brokers []placement.Broker) *apiError {
	topic, ok := image.Topic(g.asked.Topic)
	if !ok {
		return plain(kerr.UnknownTopicOrPartition)
	}
	g.topic = topic
	switch {
	case g.asked.Count == topic.Partitions:
		return failure(kerr.InvalidPartitions, "Topic already has %d partition(s).", topic.Partitions)
	case g.asked.Count < topic.Partitions:
		return failure(kerr.InvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.",
			topic.Name, topic.Partitions, g.asked.Count)
	case g.asked.Count > catalog.MaxPartitions:
		return failure(kerr.InvalidPartitions, "No topic can have more than %d partitions.", catalog.MaxPartitions)
	case topic.Internal:
		return failure(kerr.InvalidPartitions, "The number of partitions of %s says where each of its keys lies, so with another "+
			"one what is kept there would be lost. It is set when the topic is made.", topic.Name)
	}
	if g.asked.Assignment == nil {
		return nil
	}
	if additional := g.asked.Count - topic.Partitions; len(g.asked.Assignment) != int(additional) {
		return failure(kerr.InvalidReplicaAssignment, "Attempted to add %d additional partition(s), but only %d assignment(s) were specified.",
			additional, len(g.asked.Assignment))
	}
	for _, a := range g.asked.Assignment {
		if err := (&assignment{brokers: a.Replicas}).check(brokers, int(topic.ReplicationFactor)); err != nil {
			return err
		}
	}
	return nil
}
