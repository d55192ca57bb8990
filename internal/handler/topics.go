package handler

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/catalog"
	"segue/internal/config"
	"segue/internal/placement"
)

// maxPartitionsPerRequest bounds the partitions that one request may create (MAX_PARTITIONS_PER_BATCH).
const maxPartitionsPerRequest = 10_000

// clusterMetadataTopic is a name that Kafka keeps for its controllers' log.
const clusterMetadataTopic = "__cluster_metadata"

// findTopic returns the topic that a request names, by name or by id, or why there is none.
func findTopic(image *catalog.Image, byID bool, name string, id [16]byte) (*catalog.Topic, *kerr.Error) {
	if byID {
		if topic, ok := image.TopicByID(id); ok {
			return topic, nil
		}
		return nil, kerr.UnknownTopicID
	}
	if topic, ok := image.Topic(name); ok {
		return topic, nil
	}
	return nil, kerr.UnknownTopicOrPartition
}

// topicSpec is a topic as a client wants it.
type topicSpec struct {
	name       string
	partitions int32 // -1: the default
	replicas   int16 // -1: the default
	assigned   []assignment
	configs    []topicConfig
}

// assignment are the brokers that a client wants to have a partition.
type assignment struct {
	partition int32
	brokers   []int32
}

type topicConfig struct {
	name  string
	value *string
}

// creation is what became of a topicSpec: a topic or an error.
type creation struct {
	topic catalog.CreateTopic
	err   *apiError
}

// topicCreator creates topics by the rules of Kafka's ReplicationControlManager.createTopics.
type topicCreator struct {
	log    zerolog.Logger
	broker context.Context // that commits run under
	store  catalogStore
	config func() *config.Layers
	room   *partitionLimit
	view   interface {
		Brokers(listener string) []placement.Broker
	}
}

// create creates all topics that can be, in one commit, and returns the image with them and what became of each; with
// validateOnly it only says what would. When it returns the partitions are open: what the commit's watchers do to that
// end is done before the commit returns. The listener is the client's, whose view of the brokers counts.
func (c *topicCreator) create(listener string, specs []topicSpec, validateOnly bool) (*catalog.Image, []creation) {
	var results []creation
	var changes []catalog.Change
	image, err := commitJudged(c.broker, c.store, func(image *catalog.Image) []catalog.Change {
		if results, changes = c.judge(image, listener, specs); validateOnly {
			return nil
		}
		return changes
	})
	if err != nil {
		c.log.Error().Err(err).Int("topics", len(changes)).Msg("topics could not be created")
		for i := range results {
			if results[i].err == nil {
				results[i].err = plain(errorOf(err))
			}
		}
		return image, results
	}
	if !validateOnly && len(changes) > 0 {
		c.logCreated(results)
	}
	c.room.note(errorsOf(results))
	return image, results
}

func errorsOf(results []creation) []*apiError {
	errs := make([]*apiError, len(results))
	for i, r := range results {
		errs[i] = r.err
	}
	return errs
}

func (c *topicCreator) logCreated(results []creation) {
	for _, r := range results {
		if isRefusal(r.err) {
			continue // there may be many, which one line tells of
		}
		if r.err != nil {
			c.log.Info().Err(r.err).Str("topic", r.topic.Name).Msg("topic not created")
			continue
		}
		c.log.Info().Str("topic", r.topic.Name).Str("id", catalog.FormatID(r.topic.ID)).
			Int32("partitions", r.topic.Partitions).Msg("topic created")
	}
}

// judge says of each spec what topic it makes, or why none, and returns the changes that make them.
func (c *topicCreator) judge(image *catalog.Image, listener string, specs []topicSpec) (results []creation, changes []catalog.Change) {
	results = make([]creation, len(specs))
	layers := c.config()
	brokers := c.view.Brokers(listener)
	tooMany := countPartitions(specs, layers.Broker().Partitions) > maxPartitionsPerRequest
	for i := range specs {
		r := &results[i]
		if r.topic.Name = specs[i].name; tooMany {
			r.err = failure(kerr.PolicyViolation, "Excessively large number of partitions per request.")
			continue
		}
		if r.topic.Name == clusterMetadataTopic {
			r.err = failure(kerr.InvalidRequest, "Creation of internal topic %s is prohibited.", clusterMetadataTopic)
			continue
		}
		if r.topic, r.err = specs[i].topic(image, layers, brokers); r.err != nil {
			continue
		}
		if r.err = c.room.check(image, r.topic.Name, r.topic.Partitions); r.err != nil {
			continue
		}
		// The next one is judged in the light of this one: their names may collide.
		next, err := image.Apply(r.topic)
		if err != nil {
			r.err = failure(errorOf(err), "%v", err)
			continue
		}
		image = next
		changes = append(changes, r.topic)
	}
	return results, changes
}

// countPartitions is how many partitions all specs together ask for.
func countPartitions(specs []topicSpec, unsaid int32) (n int64) {
	for _, s := range specs {
		switch {
		case len(s.assigned) > 0:
			n += int64(len(s.assigned))
		case s.partitions == -1:
			n += int64(unsaid)
		case s.partitions > 0:
			n += int64(s.partitions)
		}
	}
	return n
}

// topic is the topic that a spec makes.
func (s *topicSpec) topic(image *catalog.Image, layers *config.Layers, brokers []placement.Broker) (catalog.CreateTopic, *apiError) {
	t := catalog.CreateTopic{Name: s.name, ID: catalog.NewTopicID(), Internal: catalog.IsInternal(s.name)}
	if err := s.checkName(image); err != nil {
		return t, err
	}
	if err := s.configure(&t, layers); err != nil {
		return t, err
	}
	if len(s.assigned) > 0 {
		return t, s.assign(&t, brokers)
	}
	return t, s.place(&t, layers.Broker(), len(brokers))
}

// checkName says why there can be no new topic of the spec's name.
func (s *topicSpec) checkName(image *catalog.Image) *apiError {
	if _, exists := image.Topic(s.name); exists {
		return failure(kerr.TopicAlreadyExists, "Topic '%s' already exists.", s.name)
	}
	if err := catalog.ValidateName(s.name); err != nil {
		return failure(kerr.InvalidTopicException, "%v", err)
	}
	if other, collides := image.Collision(s.name); collides {
		return failure(kerr.InvalidTopicException, "Topic '%s' collides with existing topic: %s", s.name, other)
	}
	return nil
}

// configure puts the spec's configs into the topic.
func (s *topicSpec) configure(t *catalog.CreateTopic, layers *config.Layers) *apiError {
	var null []string
	configs := map[string]string{}
	for _, c := range s.configs {
		switch {
		case c.value == nil:
			null = append(null, c.name)
		case len(*c.value) > math.MaxInt16:
			return valueTooLong()
		default:
			configs[c.name] = *c.value
		}
	}
	if len(null) > 0 {
		return failure(kerr.InvalidConfig, "Null value not supported for topic configs: %s", strings.Join(null, ","))
	}
	if err := layers.CheckTopic(configs); err != nil {
		return failure(kerr.InvalidConfig, "%v", err)
	}
	t.Configs = configs
	return nil
}

// place gives the topic as many partitions and replicas as the spec says.
func (s *topicSpec) place(t *catalog.CreateTopic, defaults config.BrokerSettings, brokers int) *apiError {
	t.Partitions, t.ReplicationFactor = s.partitions, s.replicas
	if s.partitions == -1 {
		t.Partitions = defaults.Partitions
	}
	if s.replicas == -1 {
		t.ReplicationFactor = defaults.ReplicationFactor
	}
	switch {
	case t.ReplicationFactor < 1:
		return failure(kerr.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case t.Partitions < 1:
		return failure(kerr.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	case int(t.ReplicationFactor) > brokers:
		return failure(kerr.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): The target replication "+
			"factor of %d cannot be reached because only %d broker(s) are registered.", t.ReplicationFactor, t.ReplicationFactor, brokers)
	}
	return nil
}

// assign gives the topic the partitions and replicas of a manual assignment (validateManualPartitionAssignment). Where
// they lie is placement's to say.
func (s *topicSpec) assign(t *catalog.CreateTopic, brokers []placement.Broker) *apiError {
	switch {
	case s.replicas != -1:
		return failure(kerr.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	case s.partitions != -1:
		return failure(kerr.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	seen := make(map[int32]bool, len(s.assigned))
	replicas := len(s.assigned[0].brokers)
	for _, a := range s.assigned {
		if seen[a.partition] {
			return failure(kerr.InvalidReplicaAssignment, "Found multiple manual partition assignments for partition %d", a.partition)
		}
		seen[a.partition] = true
		if err := a.check(brokers, replicas); err != nil {
			return err
		}
	}
	for i := range int32(len(s.assigned)) {
		if !seen[i] {
			return failure(kerr.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
		}
	}
	t.Partitions, t.ReplicationFactor = int32(len(s.assigned)), int16(replicas)
	return nil
}

// check judges the brokers of one partition; there should be so many replicas.
func (a *assignment) check(brokers []placement.Broker, replicas int) *apiError {
	if len(a.brokers) == 0 {
		return failure(kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	for i, id := range a.brokers {
		if !slices.ContainsFunc(brokers, func(b placement.Broker) bool { return b.NodeID == id }) {
			return failure(kerr.InvalidReplicaAssignment,
				"The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if slices.Contains(a.brokers[:i], id) {
			return failure(kerr.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	if len(a.brokers) != replicas {
		return failure(kerr.InvalidReplicaAssignment, "The manual partition assignment includes a partition with %d replica(s), "+
			"but this is not consistent with previous partitions, which have %d replica(s).", len(a.brokers), replicas)
	}
	return nil
}
