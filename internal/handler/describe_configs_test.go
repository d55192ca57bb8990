package handler

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func resource(kind kmsg.ConfigResourceType, name string, configs ...string) kmsg.DescribeConfigsRequestResource {
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, configs
	return r
}

func describeRequest(resources ...kmsg.DescribeConfigsRequestResource) *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Resources = resources
	return req
}

func (s *stage) describe(req *kmsg.DescribeConfigsRequest, version int16) []kmsg.DescribeConfigsResponseResource {
	s.Helper()
	return s.ask(req, version).(*kmsg.DescribeConfigsResponse).Resources
}

// lookFor finds a config in an answer.
func lookFor(t *testing.T, r kmsg.DescribeConfigsResponseResource, name string) kmsg.DescribeConfigsResponseResourceConfig {
	t.Helper()
	i := slices.IndexFunc(r.Configs, func(c kmsg.DescribeConfigsResponseResourceConfig) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("%s is not there", name)
	}
	return r.Configs[i]
}

func TestDescribeConfigsOfATopic(t *testing.T) {
	for version := int16(0); version <= 4; version++ {
		s := newStage(t, "log.retention.bytes", "777")
		s.create("a", 1, "cleanup.policy", "compact")
		req := describeRequest(resource(kmsg.ConfigResourceTypeTopic, "a"))
		req.IncludeSynonyms, req.IncludeDocumentation = true, true
		got := s.describe(req, version)[0]
		expectCode(t, "a", got.ErrorCode, nil)
		if got.ResourceType != kmsg.ConfigResourceTypeTopic || got.ResourceName != "a" || len(got.Configs) < 30 {
			t.Fatalf("v%d: %+v", version, got)
		}
		// Connect refuses to use a topic if this is anything else.
		policy := lookFor(t, got, "cleanup.policy")
		if stringOf(policy.Value) != "compact" || policy.ReadOnly || policy.IsSensitive {
			t.Errorf("v%d: %+v", version, policy)
		}
		bytes := lookFor(t, got, "retention.bytes")
		if stringOf(bytes.Value) != "777" {
			t.Errorf("v%d: %+v", version, bytes)
		}
		ms := lookFor(t, got, "retention.ms")
		if version == 0 && (policy.IsDefault || bytes.IsDefault || !ms.IsDefault) {
			t.Errorf("v0: default is said of %v, %v and %v", policy.IsDefault, bytes.IsDefault, ms.IsDefault)
		}
		if version >= 1 {
			if policy.Source != kmsg.ConfigSourceDynamicTopicConfig || bytes.Source != kmsg.ConfigSourceStaticBrokerConfig || ms.Source != kmsg.ConfigSourceDefaultConfig {
				t.Errorf("v%d: sources %v, %v, %v", version, policy.Source, bytes.Source, ms.Source)
			}
			if len(policy.ConfigSynonyms) != 2 || policy.ConfigSynonyms[1].Name != "log.cleanup.policy" {
				t.Errorf("v%d: synonyms %+v", version, policy.ConfigSynonyms)
			}
		}
		if version >= 3 && (policy.ConfigType != kmsg.ConfigTypeList || stringOf(policy.Documentation) == "" || policy.Documentation == nil) {
			t.Errorf("v%d: type %v, documentation %s", version, policy.ConfigType, stringOf(policy.Documentation))
		}
	}
}

func TestDescribeConfigsSaysNoMoreThanAsked(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	got := s.describe(describeRequest(resource(kmsg.ConfigResourceTypeTopic, "a", "retention.ms", "nope")), 4)[0]
	if len(got.Configs) != 1 || got.Configs[0].Name != "retention.ms" || len(got.Configs[0].ConfigSynonyms) > 0 || got.Configs[0].Documentation != nil {
		t.Errorf("%+v", got.Configs)
	}
}

func TestDescribeConfigsOfTheBroker(t *testing.T) {
	s := newStage(t, "ssl.keystore.password", "secret")
	s.layers = s.layers.WithDynamic(nil, map[string]string{"log.retention.ms": "1234"})
	req := describeRequest(resource(kmsg.ConfigResourceTypeBroker, "7"), resource(kmsg.ConfigResourceTypeBroker, ""))
	req.IncludeSynonyms = true
	got := s.describe(req, 4)
	expectCode(t, "broker 7", got[0].ErrorCode, nil)
	if id := lookFor(t, got[0], "node.id"); stringOf(id.Value) != "7" || !id.ReadOnly || id.Source != kmsg.ConfigSourceStaticBrokerConfig {
		t.Errorf("%+v", id)
	}
	if password := lookFor(t, got[0], "ssl.keystore.password"); password.Value != nil || !password.IsSensitive {
		t.Errorf("%+v", password)
	}
	if ms := lookFor(t, got[0], "log.retention.ms"); stringOf(ms.Value) != "1234" || ms.Source != kmsg.ConfigSourceDynamicDefaultBrokerConfig || ms.ReadOnly {
		t.Errorf("%+v", ms)
	}
	expectCode(t, "all brokers", got[1].ErrorCode, nil)
	if len(got[1].Configs) != 1 || got[1].Configs[0].Name != "log.retention.ms" {
		t.Errorf("the defaults of all brokers: %+v", got[1].Configs)
	}
}

func TestDescribeConfigsRefusals(t *testing.T) {
	tests := []struct {
		name     string
		resource kmsg.DescribeConfigsRequestResource
		want     *kerr.Error
	}{
		{"unknown topic", resource(kmsg.ConfigResourceTypeTopic, "x"), kerr.UnknownTopicOrPartition},
		{"bad name", resource(kmsg.ConfigResourceTypeTopic, "no good"), kerr.InvalidTopicException},
		{"another broker", resource(kmsg.ConfigResourceTypeBroker, "8"), kerr.InvalidRequest},
		{"not a broker id", resource(kmsg.ConfigResourceTypeBroker, "seven"), kerr.InvalidRequest},
		{"loggers", resource(kmsg.ConfigResourceTypeBrokerLogger, "7"), kerr.InvalidRequest},
		{"client metrics", resource(kmsg.ConfigResourceTypeClientMetrics, "x"), kerr.InvalidRequest},
		{"groups", resource(kmsg.ConfigResourceTypeGroupConfig, "x"), kerr.InvalidRequest},
	}
	s := newStage(t)
	s.create("a", 1)
	for _, test := range tests {
		got := s.describe(describeRequest(test.resource, resource(kmsg.ConfigResourceTypeTopic, "a")), 4)
		expectCode(t, test.name, got[0].ErrorCode, test.want)
		if got[0].ResourceName != test.resource.ResourceName || stringOf(got[0].ErrorMessage) == "" {
			t.Errorf("%s: %+v", test.name, got[0])
		}
		expectCode(t, "the topic beside "+test.name, got[1].ErrorCode, nil)
	}
}

// A type that nobody knows makes the request one that cannot be read.
func TestDescribeConfigsOfAnUnknownType(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	got := s.describe(describeRequest(resource(99, "x"), resource(kmsg.ConfigResourceTypeTopic, "a")), 4)
	for _, r := range got {
		expectCode(t, r.ResourceName, r.ErrorCode, kerr.InvalidRequest)
	}
}
