package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/partition"
	"segue/storage"
)

// usersOfALife is how many clients work with a broker side by side.
const usersOfALife = 3

// user is one client: a connection and the producer behind it.
type user struct {
	*life
	wire       *wire
	rand       *rand.Rand
	number     int
	producer   int64       // its id, if it has one
	known      bool        // it has
	transactor *transactor // nil if it does not know where it stands
}

// step has some clients do something side by side, or does something to the broker.
func (l *life) step() error {
	ctx := context.Background()
	switch k := l.rand.IntN(100); {
	case k < 4:
		var errs []error
		l.broker.partitions.Each(func(_ storage.Identity, p *partition.Partition, err error) {
			if err == nil {
				err = p.Checkpoint(ctx)
			}
			errs = append(errs, err)
		})
		return l.own(errors.Join(errs...))
	case k < 9:
		var errs []error
		for _, d := range l.broker.dirs {
			errs = append(errs, d.Clean(ctx))
		}
		return l.own(errors.Join(errs...))
	case k < 11:
		if err := l.own(l.stop()); err != nil {
			return err
		}
		if err := l.start(); err != nil || l.faulty {
			return err
		}
		l.audit(false)
		return nil
	}
	actions := l.actions()
	errs := make([]error, len(actions))
	var all sync.WaitGroup
	for i, act := range actions {
		c := l.users[i]
		c.rand = rand.New(rand.NewPCG(l.rand.Uint64(), uint64(i)))
		all.Go(func() { errs[i] = act(c) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// own is an error of what the test does to the broker itself, if such may not happen.
func (l *life) own(err error) error {
	if l.faulty {
		return nil
	}
	return err
}

// topicNames are those that topics are made by, again and again.
var topicNames = []string{"a", "b", "c.d", "e"}

// actions picks what the clients do in one step.
func (l *life) actions() []func(*user) error {
	l.ledger.mu.Lock()
	topics := len(l.ledger.topics.usable())
	l.ledger.mu.Unlock()
	if topics == 0 || l.rand.IntN(30) == 0 {
		same := topicNames[l.rand.IntN(len(topicNames))]
		create := func(c *user) error { return c.createTopics(same, topicNames[c.rand.IntN(len(topicNames))]) }
		return []func(*user) error{create, create, (*user).produce}
	}
	var actions []func(*user) error
	for range 1 + l.rand.IntN(usersOfALife) {
		switch k := l.rand.IntN(100); {
		case k < 32:
			actions = append(actions, (*user).produce)
		case k < 46:
			actions = append(actions, (*user).transact)
		case k < 50:
			actions = append(actions, (*user).witness)
		case k < 57:
			actions = append(actions, (*user).commit)
		case k < 60:
			actions = append(actions, (*user).rebalance)
		case k < 72:
			actions = append(actions, (*user).consume)
		case k < 75:
			actions = append(actions, (*user).alterTopic)
		case k < 79:
			actions = append(actions, (*user).growTopic)
		case k < 82:
			actions = append(actions, (*user).newProducer)
		case k < 86:
			actions = append(actions, (*user).autoCreate)
		case k < 90:
			actions = append(actions, func(c *user) error { return c.createTopics(topicNames[c.rand.IntN(len(topicNames))]) })
		case k < 95:
			actions = append(actions, func(c *user) error { return c.deleteTopic(false) })
		default:
			actions = append(actions, func(c *user) error { return c.deleteTopic(true) })
		}
	}
	return actions
}

// pick returns one of the topics that are there and whose deletion was not asked for.
func (c *user) pick() (t topic, ok bool) {
	defer c.lock()()
	topics := c.ledger.topics.usable()
	if len(topics) == 0 {
		return topic{}, false
	}
	return topics[c.rand.IntN(len(topics))], true
}

// excused says whether an error is none because the topic is being deleted, or because the disk is failing: then
// KAFKA_STORAGE_ERROR is what clients are to be told, and nothing else.
func (c *user) excused(t topic, err error, others ...error) bool {
	unlock := c.lock()
	deleted := c.ledger.topics.gone[t.id] || c.ledger.topics.deleting[t.id]
	unlock()
	switch {
	case slices.Contains(others, err):
		return true
	case deleted && (err == kerr.UnknownTopicOrPartition || err == kerr.UnknownTopicID || err == kerr.NotLeaderForPartition):
		return true
	}
	return c.faulty && err == kerr.KafkaStorageError
}

// consume reads from somewhere in a partition, and asks for its watermarks.
func (c *user) consume() error {
	t, ok := c.pick()
	if !ok {
		return nil
	}
	n := c.rand.Int32N(t.partitions)
	unlock := c.lock()
	told := c.ledger.records.log(t, n)
	from := told.start + c.rand.Int64N(told.high-told.start+1)
	unlock()
	p, err := read(c.wire, t, n, from)
	var code *kerr.Error
	switch {
	case errors.As(err, &code):
		if !c.excused(t, err, kerr.OffsetOutOfRange) {
			c.violated("fetch of %s-%d at %d: %w", t, n, from, err)
		}
		return nil
	case err != nil && c.faulty:
		// What cannot be read while the answer is being sent ends the connection, as in Kafka.
		c.wire.close()
		c.wire, err = dial(c.broker.Addr("PLAINTEXT"))
		return err
	case err != nil:
		return err
	}
	batches, err := split(p.RecordBatches)
	if err != nil {
		c.violated("fetch of %s-%d at %d: %w", t, n, from, err)
	}
	defer c.lock()()
	if c.ledger.topics.gone[t.id] {
		return nil
	}
	told = c.ledger.records.log(t, n)
	told.show(p.LogStartOffset, p.HighWatermark)
	for _, b := range batches {
		if err := told.see(b); err != nil {
			c.violated("fetch of %s-%d at %d: %w", t, n, from, err)
		}
	}
	return nil
}

// newProducer has the client go on as another producer, or in a new epoch of its own.
func (c *user) newProducer() error {
	id, err := c.takeProducerID(c.wire)
	var code *kerr.Error
	switch {
	case err == nil:
		c.producer, c.known = id, true
		return nil
	case errors.As(err, &code):
		if !c.faulty || code != kerr.CoordinatorLoadInProgress {
			c.violated("InitProducerId: %w", err)
		}
		return nil
	}
	return err
}

// newTopic makes up a topic of that name.
func (c *user) newTopic(name string) topic {
	t := topic{name: name, partitions: 1 + c.rand.Int32N(3), configs: map[string]string{"internal.segment.bytes": "4000"}}
	if t.holdsTransactions() {
		t.partitions = 2
		return t
	}
	if c.rand.IntN(2) == 0 {
		t.configs["retention.bytes"] = "6000"
	}
	return t
}

// createTopics creates topics in one request.
func (c *user) createTopics(names ...string) error {
	slices.Sort(names)
	req, asked := c.creation(slices.Compact(names)...)
	if err := c.wire.send(req, 7); err != nil {
		return err
	}
	return c.created(asked)
}

// creation is a request for new topics, which it notes.
func (c *user) creation(names ...string) (*kmsg.CreateTopicsRequest, []topic) {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = int32(patience.Milliseconds())
	var asked []topic
	defer c.lock()()
	for _, name := range names {
		t := c.newTopic(name)
		c.ledger.topics.creating(t)
		asked = append(asked, t)
		r := kmsg.NewCreateTopicsRequestTopic()
		r.Topic, r.NumPartitions, r.ReplicationFactor = t.name, t.partitions, 1
		for name, value := range t.configs {
			config := kmsg.NewCreateTopicsRequestTopicConfig()
			config.Name, config.Value = name, kmsg.StringPtr(value)
			r.Configs = append(r.Configs, config)
		}
		req.Topics = append(req.Topics, r)
	}
	return req, asked
}

// created takes the answer to a creation.
func (c *user) created(asked []topic) error {
	answer, err := c.wire.receive()
	if err != nil {
		return err
	}
	defer c.lock()()
	for i, r := range answer.(*kmsg.CreateTopicsResponse).Topics {
		t := asked[i]
		switch err := kerr.ErrorForCode(r.ErrorCode); {
		case err == nil:
			t.id = r.TopicID
			c.ledger.topics.created(t)
		case err == kerr.TopicAlreadyExists:
			c.ledger.topics.refused(t)
		case c.faulty && err == kerr.KafkaStorageError: // it may be there after all
		default:
			c.violated("create topic %s: %w", t.name, err)
		}
	}
	return nil
}

// autoCreate asks for the metadata of a topic that may not be there yet.
func (c *user) autoCreate() error {
	t := topic{name: fmt.Sprintf("auto-%d", c.rand.IntN(2)), partitions: 2}
	unlock := c.lock()
	c.ledger.topics.creating(t)
	unlock()
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = true
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = &t.name
	req.Topics = append(req.Topics, asked)
	resp, err := ask[*kmsg.MetadataResponse](c.wire, req, 12)
	if err != nil {
		return err
	}
	defer c.lock()()
	is := resp.Topics[0]
	switch err := kerr.ErrorForCode(is.ErrorCode); {
	case err == nil:
		t.id = is.TopicID
		_, known := c.ledger.topics.live[t.id]
		c.ledger.topics.created(t)
		if known {
			c.ledger.topics.refused(t) // it was there before
		}
	case c.faulty && err == kerr.UnknownTopicOrPartition: // as Kafka answers, whatever the reason
	default:
		c.violated("metadata of %s: %w", t.name, err)
	}
	return nil
}

// deleteTopic deletes a topic, and may ask for another of its name in the same breath.
func (c *user) deleteTopic(again bool) error {
	t, ok := c.pick()
	if !ok {
		return nil
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = int32(patience.Milliseconds())
	r := kmsg.NewDeleteTopicsRequestTopic()
	r.TopicID = t.id
	req.Topics = append(req.Topics, r)
	unlock := c.lock()
	c.ledger.topics.deleting[t.id] = true
	unlock()
	if err := c.wire.send(req, 6); err != nil {
		return err
	}
	var asked []topic
	if again = again && slices.Contains(topicNames, t.name); again {
		var next *kmsg.CreateTopicsRequest
		next, asked = c.creation(t.name)
		if err := c.wire.send(next, 7); err != nil {
			return err
		}
	}
	answer, err := c.wire.receive()
	if err != nil {
		return err
	}
	switch err := kerr.ErrorForCode(answer.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode); {
	case err == nil, err == kerr.UnknownTopicID: // the latter if another client was faster
		unlock := c.lock()
		c.ledger.topics.deleted(t.id)
		c.ledger.records.forget(t.id)
		c.ledger.producers.forget(t.id)
		c.ledger.groups.forget(t.id)
		unlock()
	case c.faulty && err == kerr.KafkaStorageError: // it may be gone after all
	default:
		c.violated("delete topic %s: %w", t, err)
	}
	if again {
		return c.created(asked)
	}
	return nil
}
