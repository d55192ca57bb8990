package handler

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/partition"
	"segue/storage/record"
)

const (
	opSet      = kmsg.IncrementalAlterConfigOpSet
	opDelete   = kmsg.IncrementalAlterConfigOpDelete
	opAppend   = kmsg.IncrementalAlterConfigOpAppend
	opSubtract = kmsg.IncrementalAlterConfigOpSubtract

	ofTopic  = kmsg.ConfigResourceTypeTopic
	ofBroker = kmsg.ConfigResourceTypeBroker
)

// change is one config of an alteration.
func change(op kmsg.IncrementalAlterConfigOp, name, value string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Op = name, op
	if op != opDelete {
		c.Value = &value
	}
	return c
}

func alterResource(kind kmsg.ConfigResourceType, name string, changes ...kmsg.IncrementalAlterConfigsRequestResourceConfig) kmsg.IncrementalAlterConfigsRequestResource {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.Configs = kind, name, changes
	return r
}

func (s *stage) alter(version int16, resources ...kmsg.IncrementalAlterConfigsRequestResource) []kmsg.IncrementalAlterConfigsResponseResource {
	s.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = resources
	return s.ask(req, version).(*kmsg.IncrementalAlterConfigsResponse).Resources
}

// replace asks for other configs, as name and value in turn.
func replace(kind kmsg.ConfigResourceType, name string, configs ...string) kmsg.AlterConfigsRequestResource {
	r := kmsg.NewAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for i := 0; i < len(configs); i += 2 {
		c := kmsg.NewAlterConfigsRequestResourceConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		r.Configs = append(r.Configs, c)
	}
	return r
}

func (s *stage) replace(version int16, resources ...kmsg.AlterConfigsRequestResource) []kmsg.AlterConfigsResponseResource {
	s.Helper()
	req := kmsg.NewPtrAlterConfigsRequest()
	req.Resources = resources
	return s.ask(req, version).(*kmsg.AlterConfigsResponse).Resources
}

// expectConfigs compares what is set for a topic.
func (s *stage) expectConfigs(topic string, want map[string]string) {
	s.Helper()
	got, _ := s.catalog.Image().Topic(topic)
	if !maps.Equal(got.Configs, want) {
		s.Errorf("%s has %v, want %v", topic, got.Configs, want)
	}
}

func TestIncrementalAlterConfigsEveryVersion(t *testing.T) {
	for version := int16(0); version <= 1; version++ {
		s := newStage(t)
		s.create("a", 1, "retention.ms", "5", "segment.ms", "6", "cleanup.policy", "compact")
		got := s.alter(version,
			alterResource(ofTopic, "a", change(opSet, "retention.bytes", "7"), change(opDelete, "segment.ms", ""),
				change(opAppend, "cleanup.policy", "delete")),
			alterResource(ofTopic, "none", change(opSet, "retention.bytes", "7")))
		if len(got) != 2 || got[0].ResourceName != "a" || got[0].ResourceType != ofTopic || got[0].ErrorMessage != nil {
			t.Fatalf("v%d: %+v", version, got)
		}
		expectCode(t, "a", got[0].ErrorCode, nil)
		expectCode(t, "none", got[1].ErrorCode, kerr.UnknownTopicOrPartition)
		s.expectConfigs("a", map[string]string{"retention.ms": "5", "retention.bytes": "7", "cleanup.policy": "compact,delete"})
	}
}

func TestAlterConfigsEveryVersion(t *testing.T) {
	for version := int16(0); version <= 2; version++ {
		s := newStage(t)
		s.create("a", 1, "retention.ms", "5", "segment.ms", "6")
		got := s.replace(version, replace(ofTopic, "a", "retention.ms", "8", "max.message.bytes", "99"), replace(ofTopic, "none", "retention.ms", "8"))
		if len(got) != 2 || got[0].ResourceName != "a" || got[0].ResourceType != ofTopic || got[0].ErrorMessage != nil {
			t.Fatalf("v%d: %+v", version, got)
		}
		expectCode(t, "a", got[0].ErrorCode, nil)
		expectCode(t, "none", got[1].ErrorCode, kerr.UnknownTopicOrPartition)
		s.expectConfigs("a", map[string]string{"retention.ms": "8", "max.message.bytes": "99"})
	}
}

func TestAlterConfigsOfLists(t *testing.T) {
	for _, test := range []struct {
		before, value, want string
		op                  kmsg.IncrementalAlterConfigOp
	}{
		{"compact", "compact,delete", "compact,delete", opAppend},
		{"", "compact", "delete,compact", opAppend}, // to the default
		{"compact,delete", "compact", "delete", opSubtract},
		{"compact", "delete", "compact", opSubtract},
		{"compact", "compact", "", opSubtract},
	} {
		s := newStage(t)
		var configs []string
		if test.before != "" {
			configs = []string{"cleanup.policy", test.before}
		}
		s.create("a", 1, configs...)
		got := s.alter(1, alterResource(ofTopic, "a", change(test.op, "cleanup.policy", test.value)))
		expectCode(t, fmt.Sprintf("%+v", test), got[0].ErrorCode, nil)
		s.expectConfigs("a", map[string]string{"cleanup.policy": test.want})
	}
}

func TestAlterConfigsRefusals(t *testing.T) {
	null := change(opSet, "retention.ms", "")
	null.Value = nil
	long := strings.Repeat("x", 1<<15)
	many := make([]kmsg.IncrementalAlterConfigsRequestResourceConfig, 1001)
	for i := range many {
		many[i] = change(opSet, fmt.Sprintf("no.such.%d", i), "1")
	}
	tests := []struct {
		name     string
		resource kmsg.IncrementalAlterConfigsRequestResource
		want     *kerr.Error
		message  string
	}{
		{"unknown topic", alterResource(ofTopic, "none", change(opSet, "retention.ms", "1")), kerr.UnknownTopicOrPartition, "The topic 'none' does not exist."},
		{"bad name", alterResource(ofTopic, "no good", change(opSet, "retention.ms", "1")), kerr.InvalidTopicException, ""},
		{"no name", alterResource(ofTopic, "", change(opSet, "retention.ms", "1")), kerr.InvalidRequest, "Default topic resources are not allowed."},
		{"unknown config", alterResource(ofTopic, "a", change(opSet, "retentoin.ms", "1")), kerr.InvalidConfig, "did you mean retention.ms"},
		{"bad value", alterResource(ofTopic, "a", change(opSet, "retention.ms", "soon")), kerr.InvalidConfig, "Invalid value soon for configuration retention.ms"},
		{"bad value of no topic", alterResource(ofTopic, "none", change(opSet, "retention.ms", "soon")), kerr.InvalidConfig, ""},
		{"contradiction", alterResource(ofTopic, "a", change(opSet, "max.compaction.lag.ms", "5"), change(opSet, "min.compaction.lag.ms", "6")), kerr.InvalidConfig, "min.compaction.lag.ms"},
		{"twice", alterResource(ofTopic, "a", change(opSet, "retention.ms", "1"), change(opDelete, "retention.ms", "")), kerr.InvalidRequest, "duplicate config keys"},
		{"null", alterResource(ofTopic, "a", null), kerr.InvalidRequest, "Null value not supported for : retention.ms"},
		{"append to a number", alterResource(ofTopic, "a", change(opAppend, "retention.ms", "1")), kerr.InvalidConfig, "its type is not LIST"},
		{"append to nothing known", alterResource(ofTopic, "a", change(opSubtract, "x", "1")), kerr.InvalidConfig, "its type is not LIST"},
		{"bad element", alterResource(ofTopic, "a", change(opAppend, "cleanup.policy", "shred")), kerr.InvalidConfig, "shred"},
		{"unknown operation", alterResource(ofTopic, "a", change(9, "retention.ms", "1")), kerr.InvalidRequest, "Unknown operations type 9"},
		{"long value", alterResource(ofTopic, "a", change(opSet, "follower.replication.throttled.replicas", long)), kerr.InvalidConfig, "32767"},
		{"long element", alterResource(ofTopic, "a", change(opAppend, "follower.replication.throttled.replicas", long)), kerr.InvalidConfig, "32767"},
		{"tiered storage", alterResource(ofTopic, "a", change(opSet, "remote.storage.enable", "true")), kerr.InvalidConfig, "tiered storage"},
		{"another broker", alterResource(ofBroker, "8", change(opSet, "log.retention.ms", "1")), kerr.InvalidRequest, "expected 7"},
		{"no broker id", alterResource(ofBroker, "seven", change(opSet, "log.retention.ms", "1")), kerr.InvalidRequest, "must be an integer"},
		{"read at the start", alterResource(ofBroker, "7", change(opSet, "num.partitions", "1")), kerr.InvalidRequest, "Cannot update configuration num.partitions dynamically"},
		{"read at the start here", alterResource(ofBroker, "", change(opSet, "max.connections", "1")), kerr.InvalidRequest, "it is read once, when the broker starts"},
		{"of one broker", alterResource(ofBroker, "", change(opSet, "cordoned.log.dirs", "x")), kerr.InvalidRequest, "for a single broker only"},
		{"bad value of a broker", alterResource(ofBroker, "", change(opSet, "log.retention.ms", "soon")), kerr.InvalidRequest, "Not a number"},
		{"retention of nothing", alterResource(ofBroker, "", change(opSet, "log.retention.ms", "0")), kerr.InvalidRequest, "log.retention.ms"},
		{"contradiction of a broker", alterResource(ofBroker, "7", change(opSet, "log.cleaner.min.compaction.lag.ms", "6"), change(opSet, "log.cleaner.max.compaction.lag.ms", "5")), kerr.InvalidRequest, "min.compaction.lag.ms"},
		{"too many", alterResource(ofBroker, "7", many...), kerr.InvalidConfig, "1001 configs"},
		{"loggers", alterResource(kmsg.ConfigResourceTypeBrokerLogger, "7", change(opSet, "kafka", "INFO")), kerr.InvalidRequest, "Unsupported resource type"},
		{"client metrics", alterResource(kmsg.ConfigResourceTypeClientMetrics, "m", change(opSet, "interval.ms", "1")), kerr.InvalidRequest, "Unsupported resource type"},
		{"groups", alterResource(kmsg.ConfigResourceTypeGroupConfig, "g", change(opSet, "consumer.session.timeout.ms", "1")), kerr.InvalidRequest, "Unsupported resource type"},
		{"unknown type", alterResource(99, "x"), kerr.InvalidRequest, "Unknown resource type 99"},
	}
	for _, test := range tests {
		s := newStage(t)
		s.create("a", 1, "segment.ms", "5")
		s.create("good", 1)
		got := s.alter(1, test.resource, alterResource(ofTopic, "good", change(opSet, "retention.ms", "1")))
		expectCode(t, test.name, got[0].ErrorCode, test.want)
		if !strings.Contains(stringOf(got[0].ErrorMessage), test.message) {
			t.Errorf("%s: message %q, want %q in it", test.name, stringOf(got[0].ErrorMessage), test.message)
		}
		expectCode(t, "the other beside "+test.name, got[1].ErrorCode, nil)
		s.expectConfigs("good", map[string]string{"retention.ms": "1"})
		s.expectConfigs("a", map[string]string{"segment.ms": "5"})
		if altered := s.catalog.Image().Brokers(); len(altered) > 0 {
			t.Errorf("%s: altered are %v", test.name, altered)
		}
	}
}

func TestAlterConfigsOfAResourceTwice(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	a := alterResource(ofTopic, "a", change(opSet, "retention.ms", "1"))
	for _, r := range s.alter(1, a, a, a) {
		expectCode(t, "a", r.ErrorCode, kerr.InvalidRequest)
	}
	for _, r := range s.replace(2, replace(ofTopic, "a"), replace(ofTopic, "a")) {
		expectCode(t, "a", r.ErrorCode, kerr.InvalidRequest)
	}
	s.expectConfigs("a", map[string]string{})
}

func TestAlterConfigsValidateOnly(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	version := s.catalog.Image().Version()
	incremental := kmsg.NewPtrIncrementalAlterConfigsRequest()
	incremental.ValidateOnly = true
	incremental.Resources = []kmsg.IncrementalAlterConfigsRequestResource{
		alterResource(ofTopic, "a", change(opSet, "retention.ms", "1")), alterResource(ofBroker, "", change(opSet, "log.retention.ms", "x")),
	}
	got := s.ask(incremental, 1).(*kmsg.IncrementalAlterConfigsResponse).Resources
	expectCode(t, "a", got[0].ErrorCode, nil)
	expectCode(t, "all brokers", got[1].ErrorCode, kerr.InvalidRequest)
	whole := kmsg.NewPtrAlterConfigsRequest()
	whole.ValidateOnly = true
	whole.Resources = []kmsg.AlterConfigsRequestResource{replace(ofTopic, "a", "retention.ms", "1")}
	expectCode(t, "a", s.ask(whole, 2).(*kmsg.AlterConfigsResponse).Resources[0].ErrorCode, nil)
	if now := s.catalog.Image().Version(); now != version {
		t.Errorf("the catalog went from version %d to %d", version, now)
	}
}

// What changes nothing is not written.
func TestAlterConfigsToWhatTheyAre(t *testing.T) {
	s := newStage(t)
	s.create("a", 1, "retention.ms", "1")
	version := s.catalog.Image().Version()
	got := s.alter(1, alterResource(ofTopic, "a", change(opSet, "retention.ms", "1"), change(opDelete, "segment.ms", "")),
		alterResource(ofBroker, "7", change(opDelete, "log.retention.ms", "")))
	expectCode(t, "a", got[0].ErrorCode, nil)
	expectCode(t, "broker", got[1].ErrorCode, nil)
	if now := s.catalog.Image().Version(); now != version {
		t.Errorf("the catalog went from version %d to %d", version, now)
	}
}

// Between the look and the commit somebody else alters the same topic: nothing of his is lost.
func TestAlterConfigsAtTheSameTime(t *testing.T) {
	s := newStage(t)
	topic := s.create("a", 1)
	s.catalog.before = func() {
		change := catalog.SetTopicConfigs{ID: topic.ID, Configs: map[string]string{"segment.ms": "5"}}
		if _, err := s.catalog.Commit(t.Context(), catalog.Any, change); err != nil {
			t.Error(err)
		}
	}
	got := s.alter(1, alterResource(ofTopic, "a", change(opSet, "retention.ms", "1")))
	expectCode(t, "a", got[0].ErrorCode, nil)
	s.expectConfigs("a", map[string]string{"segment.ms": "5", "retention.ms": "1"})
}

func TestAlterConfigsOnAFailingDisk(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	s.catalog.fail = fmt.Errorf("%w: %w", kerr.KafkaStorageError, errDisk)
	got := s.alter(1, alterResource(ofTopic, "a", change(opSet, "retention.ms", "1")), alterResource(ofTopic, "none"))
	expectCode(t, "a", got[0].ErrorCode, kerr.KafkaStorageError)
	expectCode(t, "none", got[1].ErrorCode, kerr.UnknownTopicOrPartition)
	if !errors.Is(s.catalog.fail, errDisk) {
		t.Error("the disk has healed")
	}
}

// What is altered is told, with where it comes from, and is what partitions go by.
func TestAlteredConfigsHold(t *testing.T) {
	s := newStage(t)
	topic := s.create("a", 1)
	p := s.partition(topic, 0)
	expect := func(what string, config kmsg.DescribeConfigsResponseResourceConfig, value string, source kmsg.ConfigSource, synonyms ...string) {
		t.Helper()
		var found []string
		for _, s := range config.ConfigSynonyms {
			found = append(found, fmt.Sprintf("%s=%s", s.Name, stringOf(s.Value)))
		}
		if stringOf(config.Value) != value || config.Source != source || strings.Join(found, " ") != strings.Join(synonyms, " ") {
			t.Errorf("%s: %s from %v, synonyms %v", what, stringOf(config.Value), config.Source, found)
		}
	}
	describe := func(kind kmsg.ConfigResourceType, name, config string) kmsg.DescribeConfigsResponseResourceConfig {
		t.Helper()
		req := describeRequest(resource(kind, name, config))
		req.IncludeSynonyms = true
		return lookFor(t, s.describe(req, 4)[0], config)
	}
	steps := []struct {
		resource kmsg.IncrementalAlterConfigsRequestResource
		value    string
		source   kmsg.ConfigSource
		synonyms []string
	}{
		{alterResource(ofBroker, "", change(opSet, "log.message.timestamp.type", "LogAppendTime")), "LogAppendTime", kmsg.ConfigSourceDynamicDefaultBrokerConfig,
			[]string{"log.message.timestamp.type=LogAppendTime", "log.message.timestamp.type=CreateTime"}},
		{alterResource(ofBroker, "7", change(opSet, "log.message.timestamp.type", "CreateTime")), "CreateTime", kmsg.ConfigSourceDynamicBrokerConfig,
			[]string{"log.message.timestamp.type=CreateTime", "log.message.timestamp.type=LogAppendTime", "log.message.timestamp.type=CreateTime"}},
		{alterResource(ofTopic, "a", change(opSet, "message.timestamp.type", "LogAppendTime")), "LogAppendTime", kmsg.ConfigSourceDynamicTopicConfig,
			[]string{"message.timestamp.type=LogAppendTime", "log.message.timestamp.type=CreateTime", "log.message.timestamp.type=LogAppendTime", "log.message.timestamp.type=CreateTime"}},
		{alterResource(ofTopic, "a", change(opDelete, "message.timestamp.type", "")), "CreateTime", kmsg.ConfigSourceDynamicBrokerConfig,
			[]string{"log.message.timestamp.type=CreateTime", "log.message.timestamp.type=LogAppendTime", "log.message.timestamp.type=CreateTime"}},
		{alterResource(ofBroker, "7", change(opDelete, "log.message.timestamp.type", "")), "LogAppendTime", kmsg.ConfigSourceDynamicDefaultBrokerConfig,
			[]string{"log.message.timestamp.type=LogAppendTime", "log.message.timestamp.type=CreateTime"}},
		{alterResource(ofBroker, "", change(opDelete, "log.message.timestamp.type", "")), "CreateTime", kmsg.ConfigSourceDefaultConfig,
			[]string{"log.message.timestamp.type=CreateTime"}},
	}
	for i, step := range steps {
		expectCode(t, "alter", s.alter(1, step.resource)[0].ErrorCode, nil)
		expect(fmt.Sprintf("step %d", i), describe(ofTopic, "a", "message.timestamp.type"), step.value, step.source, step.synonyms...)
		if got, want := s.appendsOwnTime(p), step.value == "LogAppendTime"; got != want {
			t.Errorf("step %d: the log's own time is taken: %v", i, got)
		}
	}
	if altered := s.catalog.Image().Brokers(); len(altered) > 0 {
		t.Errorf("altered are %v", altered)
	}
}

// A name that nobody knows is kept, as in Kafka, and never shown.
func TestAlterUnknownBrokerConfigs(t *testing.T) {
	s := newStage(t)
	expectCode(t, "7", s.alter(1, alterResource(ofBroker, "7", change(opSet, "my.plugin.password", "secret")))[0].ErrorCode, nil)
	got := lookFor(t, s.describe(describeRequest(resource(ofBroker, "7")), 4)[0], "my.plugin.password")
	if got.Value != nil || !got.IsSensitive {
		t.Errorf("%+v", got)
	}
}

// appendsOwnTime appends a batch and says whether its records got the time of that.
func (s *stage) appendsOwnTime(p *partition.Partition) bool {
	s.Helper()
	b := record.NewBuilder(0)
	b.Add(time.Now().UnixMilli(), nil, []byte("v"))
	batch, err := b.Build()
	if err != nil {
		s.Fatal(err)
	}
	ack, err := p.Append(s.Context(), -1, batch, partition.Client)
	if err != nil {
		s.Fatal(err)
	}
	return ack.AppendTime >= 0
}
