package catalog

import (
	"fmt"
	"maps"
	"math"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
)

// The limits of what the catalog takes, whoever asks. They are far above what is of use and keep one request from
// filling the memory of every later start.
const (
	MaxPartitions  = 1 << 20 // of one topic
	MaxConfigs     = 1000    // of one topic or broker
	MaxConfigName  = 255     // bytes
	MaxConfigBytes = 1 << 20 // names and values of one topic or broker together
	MaxClusterID   = 255     // bytes
	MaxReservation = 1 << 20 // producer ids at once
)

// Change is a step from one image to the next. The kinds of changes are those of this package.
type Change interface {
	// apply takes the step, or says why it cannot be taken. After an error the edit is thrown away.
	apply(*edit) error
}

// CreateTopic adds a topic. Its name must be valid and free, also if '.' and '_' are taken for the same, and its id
// new. A topic of the same name may still be among the deleted ones.
type CreateTopic struct {
	Name              string
	ID                [16]byte
	Partitions        int32
	ReplicationFactor int16
	Configs           map[string]string
	Internal          bool
}

// DeleteTopic takes a topic from the live ones to the deleted ones.
type DeleteTopic struct{ ID [16]byte }

// PurgeTopic forgets a deleted topic: its folders are gone.
type PurgeTopic struct{ ID [16]byte }

// SetTopicConfigs replaces all configs that were set for a topic.
type SetTopicConfigs struct {
	ID      [16]byte
	Configs map[string]string
}

// SetPartitions raises the number of partitions of a topic.
type SetPartitions struct {
	ID         [16]byte
	Partitions int32
}

// SetBrokerConfigs replaces all configs that were altered for a broker, named by its node id in decimal, or for all
// brokers, named by the empty string.
type SetBrokerConfigs struct {
	Broker  string
	Configs map[string]string
}

// Start counts a start of the broker. At the first one it also gives the cluster its id; later ClusterID is not
// looked at.
type Start struct{ ClusterID string }

// Surpass lifts the counts of what a broker hands out above what a log has that was brought from elsewhere: the next
// start's leader epoch is larger than LeaderEpoch, and the next producer id than ProducerID. Either may be -1 for none.
type Surpass struct {
	LeaderEpoch int32
	ProducerID  int64
}

// The largest leader epoch and producer id that Surpass takes: half of all that there are is left.
const (
	MaxSurpassedEpoch      = math.MaxInt32 / 2
	MaxSurpassedProducerID = math.MaxInt64 / 2
)

// ReserveProducerIDs puts the next Count producer ids aside for whoever commits it.
type ReserveProducerIDs struct{ Count int64 }

func (c CreateTopic) apply(e *edit) error {
	t := &Topic{
		Name: c.Name, ID: c.ID, Partitions: c.Partitions, ReplicationFactor: c.ReplicationFactor,
		Configs: maps.Clone(c.Configs), Internal: c.Internal,
	}
	if err := e.checkNew(t); err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	e.put(t)
	return nil
}

func (c DeleteTopic) apply(e *edit) error {
	t, err := e.topic(c.ID)
	if err != nil {
		return fmt.Errorf("delete topic: %w", err)
	}
	e.drop(t)
	e.deleting.set(t.ID, t)
	return nil
}

func (c PurgeTopic) apply(e *edit) error {
	if _, ok := e.deleting.get(c.ID); !ok {
		return fmt.Errorf("purge topic: %s is not a deleted topic: %w", FormatID(c.ID), kerr.UnknownTopicID)
	}
	e.deleting.remove(c.ID)
	return nil
}

func (c SetTopicConfigs) apply(e *edit) error {
	t, err := e.topic(c.ID)
	if err == nil {
		err = checkConfigs(c.Configs)
	}
	if err != nil {
		return fmt.Errorf("set topic configs: %w", err)
	}
	next := *t
	next.Configs = maps.Clone(c.Configs)
	e.put(&next)
	return nil
}

func (c SetPartitions) apply(e *edit) error {
	t, err := e.topic(c.ID)
	switch {
	case err != nil:
	case c.Partitions <= t.Partitions:
		err = fmt.Errorf("topic %s has %d partitions, and they can only be raised, not set to %d: %w",
			t.Name, t.Partitions, c.Partitions, kerr.InvalidPartitions)
	case c.Partitions > MaxPartitions:
		err = fmt.Errorf("topic %s cannot have %d partitions, at most %d: %w", t.Name, c.Partitions, MaxPartitions, kerr.InvalidPartitions)
	}
	if err != nil {
		return fmt.Errorf("set partitions: %w", err)
	}
	next := *t
	next.Partitions = c.Partitions
	e.put(&next)
	return nil
}

func (c SetBrokerConfigs) apply(e *edit) error {
	if err := checkConfigs(c.Configs); err != nil {
		return fmt.Errorf("set broker configs: %w", err)
	}
	if len(c.Broker) > MaxConfigName || !utf8.ValidString(c.Broker) {
		return fmt.Errorf("set broker configs: %.40q cannot name a broker: %w", c.Broker, kerr.InvalidRequest)
	}
	if !e.brokers {
		e.brokers, e.image.brokers = true, maps.Clone(e.image.brokers)
	}
	if len(c.Configs) == 0 {
		delete(e.image.brokers, c.Broker)
		return nil
	}
	if e.image.brokers == nil {
		e.image.brokers = map[string]map[string]string{}
	}
	e.image.brokers[c.Broker] = maps.Clone(c.Configs)
	return nil
}

func (c Start) apply(e *edit) error {
	if e.image.startCount == math.MaxInt32 {
		return fmt.Errorf("start: the broker has started %d times, and leader epochs cannot go higher", e.image.startCount)
	}
	if e.image.clusterID == "" {
		if c.ClusterID == "" || len(c.ClusterID) > MaxClusterID || !utf8.ValidString(c.ClusterID) {
			return fmt.Errorf("start: the first start needs a cluster id of 1 to %d bytes, not %.40q", MaxClusterID, c.ClusterID)
		}
		e.image.clusterID = c.ClusterID
	}
	e.image.startCount++
	return nil
}

func (c Surpass) apply(e *edit) error {
	if c.LeaderEpoch < -1 || c.LeaderEpoch > MaxSurpassedEpoch || c.ProducerID < -1 || c.ProducerID > MaxSurpassedProducerID {
		return fmt.Errorf("surpass leader epoch %d and producer id %d: allowed are -1 to %d and to %d: %w",
			c.LeaderEpoch, c.ProducerID, MaxSurpassedEpoch, MaxSurpassedProducerID, kerr.InvalidRequest)
	}
	e.image.startCount = max(e.image.startCount, c.LeaderEpoch)
	e.image.nextProducerID = max(e.image.nextProducerID, c.ProducerID+1)
	return nil
}

func (c ReserveProducerIDs) apply(e *edit) error {
	if c.Count < 1 || c.Count > MaxReservation {
		return fmt.Errorf("reserve producer ids: %d at once, allowed are 1 to %d: %w", c.Count, MaxReservation, kerr.InvalidRequest)
	}
	if e.image.nextProducerID > math.MaxInt64-c.Count {
		return fmt.Errorf("reserve producer ids: none are left behind %d", e.image.nextProducerID)
	}
	e.image.nextProducerID += c.Count
	return nil
}

func (e *edit) topic(id [16]byte) (*Topic, error) {
	t, ok := e.byID.get(id)
	if !ok {
		return nil, fmt.Errorf("no topic has the id %s: %w", FormatID(id), kerr.UnknownTopicID)
	}
	return t, nil
}

// checkNew tells whether a topic can be added to the live ones.
func (e *edit) checkNew(t *Topic) error {
	if err := checkTopic(t); err != nil {
		return err
	}
	if _, ok := e.byName.get(t.Name); ok {
		return fmt.Errorf("topic %s exists: %w", t.Name, kerr.TopicAlreadyExists)
	}
	if hasCollisionChars(t.Name) {
		if other, ok := e.unified.get(unified(t.Name)); ok {
			return fmt.Errorf("topic %s collides with existing topic %s, since metrics take '.' and '_' for the same: %w",
				t.Name, other, kerr.InvalidTopicException)
		}
	}
	return e.checkNewID(t)
}

func (e *edit) checkNewID(t *Topic) error {
	_, live := e.byID.get(t.ID)
	_, deleted := e.deleting.get(t.ID)
	if live || deleted {
		return fmt.Errorf("topic %s cannot have the id %s, which another has: %w", t.Name, FormatID(t.ID), kerr.InvalidRequest)
	}
	return nil
}

// checkTopic tells whether a topic is one, whatever else there is.
func checkTopic(t *Topic) error {
	if err := ValidateName(t.Name); err != nil {
		return err
	}
	switch {
	case isReserved(t.ID):
		return fmt.Errorf("topic %s cannot have the id %s, which is reserved: %w", t.Name, FormatID(t.ID), kerr.InvalidRequest)
	case t.Partitions < 1 || t.Partitions > MaxPartitions:
		return fmt.Errorf("topic %s cannot have %d partitions, allowed are 1 to %d: %w", t.Name, t.Partitions, MaxPartitions, kerr.InvalidPartitions)
	case t.ReplicationFactor < 1:
		return fmt.Errorf("topic %s cannot have %d replicas: %w", t.Name, t.ReplicationFactor, kerr.InvalidReplicationFactor)
	}
	if err := checkConfigs(t.Configs); err != nil {
		return fmt.Errorf("topic %s: %w", t.Name, err)
	}
	return nil
}

// checkConfigs holds configs to what can be kept and read back as it was; which names and values make sense is not
// the catalog's to say.
func checkConfigs(configs map[string]string) error {
	if len(configs) > MaxConfigs {
		return fmt.Errorf("%d configs, at most %d are allowed: %w", len(configs), MaxConfigs, kerr.InvalidConfig)
	}
	size := 0
	for name, value := range configs {
		size += len(name) + len(value)
		switch {
		case name == "" || len(name) > MaxConfigName:
			return fmt.Errorf("a config name has %d bytes, allowed are 1 to %d: %w", len(name), MaxConfigName, kerr.InvalidConfig)
		case size > MaxConfigBytes:
			return fmt.Errorf("the configs have more than %d bytes together: %w", MaxConfigBytes, kerr.InvalidConfig)
		case !utf8.ValidString(name) || !utf8.ValidString(value):
			return fmt.Errorf("the config %.40q is not valid UTF-8: %w", name, kerr.InvalidConfig)
		}
	}
	return nil
}
