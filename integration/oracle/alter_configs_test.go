package oracle

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The kinds of resources and the operations on a config.
const (
	ofTopic  = kmsg.ConfigResourceTypeTopic
	ofBroker = kmsg.ConfigResourceTypeBroker

	set      = kmsg.IncrementalAlterConfigOpSet
	unset    = kmsg.IncrementalAlterConfigOpDelete
	add      = kmsg.IncrementalAlterConfigOpAppend
	subtract = kmsg.IncrementalAlterConfigOpSubtract
)

func alterConfigsScenario() scenario {
	inc, whole := kmsg.IncrementalAlterConfigs, kmsg.AlterConfigs
	return scenario{name: "alter_configs", cases: []oneCase{
		{name: "some of a topic", api: inc, run: func(c *client) {
			t := c.topic("t", 1, "segment.ms=6000", "retention.ms=5000").name
			alter(c, altered(ofTopic, t, change(set, "retention.ms=7000"), change(unset, "segment.ms"), change(set, "flush.messages= 8 ")))
			c.settle(t, "retention.ms", "7000")
			c.configsOf(ofTopic, t, "retention.ms", "segment.ms", "flush.messages")
		}},
		{name: "all of a topic", api: whole, run: func(c *client) {
			t := c.topic("t", 1, "segment.ms=6000", "retention.ms=5000").name
			replace(c, replaced(ofTopic, t, "retention.ms=7000"))
			c.settle(t, "retention.ms", "7000")
			c.configsOf(ofTopic, t, "retention.ms", "segment.ms")
			replace(c, replaced(ofTopic, t))
			c.settle(t, "retention.ms", "604800000")
			c.configsOf(ofTopic, t, "retention.ms", "segment.ms")
		}},
		{name: "what is not altered in all of a topic", api: whole, run: func(c *client) {
			t := c.topic("t", 1).name
			replace(c, replaced(ofTopic, t, "retention.ms=soon"))
			replace(c, replaced(ofTopic, t, "retentoin.ms=5"))
			replace(c, replaced(ofTopic, c.fresh("missing"), "retention.ms=5"))
			replace(c, replaced(ofTopic, c.fresh("missing")))
			replace(c, replaced(ofTopic, t, "retention.ms=5", "retention.ms=6"))
			r := replaced(ofTopic, t, "retention.ms=5")
			r.Configs[0].Value = nil
			replace(c, r)
			replace(c)
		}},
		{name: "lists", api: inc, run: func(c *client) {
			t := c.topic("t", 1).name
			const policy = "cleanup.policy"
			for _, step := range []struct{ change, leads string }{
				{"+compact", "delete,compact"}, {"+compact,delete", "delete,compact"}, {"-delete", "compact"}, {"-delete", "compact"},
				{"-compact", ""}, {"+delete", "delete"},
			} {
				op := add
				if step.change[0] == '-' {
					op = subtract
				}
				alter(c, altered(ofTopic, t, change(op, policy+"="+step.change[1:])))
				c.settle(t, policy, step.leads)
				c.configsOf(ofTopic, t, policy)
			}
			alter(c, altered(ofTopic, t, change(add, policy+"=")))
			alter(c, altered(ofTopic, t, change(add, policy+"=shred")))
			alter(c, altered(ofTopic, t, change(add, "retention.ms=5")))
			alter(c, altered(ofTopic, t, change(subtract, "no.such=5")))
			alter(c, altered(ofTopic, t, change(add, "leader.replication.throttled.replicas=0:1,0:2")))
			c.settle(t, "leader.replication.throttled.replicas", "0:1,0:2")
		}},
		{name: "values that are none", api: inc, run: func(c *client) {
			t := c.topic("t", 1).name
			for _, config := range badTopicConfigs() {
				alter(c, altered(ofTopic, t, change(set, config)))
			}
			alter(c, altered(ofTopic, t, change(set, "max.compaction.lag.ms=5"), change(set, "min.compaction.lag.ms=6")))
		}},
		{name: "what cannot be altered", api: inc, run: func(c *client) {
			t := c.topic("t", 1).name
			alter(c, altered(ofTopic, c.fresh("missing"), change(set, "retention.ms=5")))
			alter(c, altered(ofTopic, c.fresh("missing"), change(set, "retention.ms=soon")))
			alter(c, altered(ofTopic, c.fresh("missing")))
			for _, name := range badTopicNames() {
				alter(c, altered(ofTopic, name, change(set, "retention.ms=5")))
			}
			alter(c, altered(ofTopic, t, change(set, "retention.ms=5"), change(set, "retention.ms=6")))
			alter(c, altered(ofTopic, t, change(set, "retention.ms=5"), change(unset, "retention.ms")))
			null := change(set, "retention.ms=5")
			null.Value = nil
			alter(c, altered(ofTopic, t, null))
			alter(c, altered(ofTopic, t, change(unset, "no.such")))
			alter(c, altered(ofTopic, t))
			alter(c)
		}},
		{name: "a good one beside bad ones", api: inc, run: func(c *client) {
			t, other := c.topic("t", 1).name, c.topic("other", 1).name
			alter(c, altered(ofTopic, t, change(set, "retention.ms=5")), altered(ofTopic, c.fresh("missing"), change(set, "retention.ms=5")),
				altered(ofTopic, other, change(set, "retention.ms=soon")))
			c.settle(t, "retention.ms", "5")
		}},
		{name: "a resource twice", api: inc, run: func(c *client) {
			t, other := c.topic("t", 1).name, c.topic("other", 1).name
			alter(c, altered(ofTopic, t, change(set, "retention.ms=5")), altered(ofTopic, other, change(set, "retention.ms=5")),
				altered(ofTopic, t, change(set, "segment.ms=5")))
			c.settle(other, "retention.ms", "5")
			c.configsOf(ofTopic, t, "retention.ms", "segment.ms")
		}},
		{name: "only validated", api: inc, run: func(c *client) {
			t := c.topic("t", 1).name
			req := alterRequest(altered(ofTopic, t, change(set, "retention.ms=5")), altered(ofBroker, "", change(set, "log.retention.ms=x")))
			req.ValidateOnly = true
			ask[*kmsg.IncrementalAlterConfigsResponse](c, req)
			c.configsOf(ofTopic, t, "retention.ms")
		}},
		{name: "brokers", api: inc, run: func(c *client) {
			t := c.topic("t", 1).name
			alter(c, altered(ofBroker, "", change(set, "log.retention.ms=70000")), altered(ofBroker, "1", change(set, "log.segment.bytes=2000000")))
			c.settle(t, "retention.ms", "70000")
			c.settle(t, "segment.bytes", "2000000")
			c.configsOf(ofTopic, t, "retention.ms", "segment.bytes")
			c.configsOf(ofBroker, "1", "log.retention.ms", "log.retention.hours", "log.segment.bytes")
			c.configsOf(ofBroker, "", "log.retention.ms", "log.segment.bytes")
			alter(c, altered(ofBroker, "", change(unset, "log.retention.ms")), altered(ofBroker, "1", change(unset, "log.segment.bytes")))
			c.settle(t, "retention.ms", "604800000")
			c.settle(t, "segment.bytes", "1073741824")
		}},
		{name: "brokers that cannot be altered", api: inc, run: func(c *client) {
			for _, id := range []string{"2", "-1", "one", " 1"} {
				alter(c, altered(ofBroker, id, change(set, "log.retention.ms=5")))
			}
			for _, config := range []string{"num.partitions=5", "log.retention.hours=5", "log.retention.ms=x", "message.max.bytes=-1", "ssl.keystore.password=x",
				"listeners=PLAINTEXT://:1", "broker.id=1", "log.cleanup.policy=shred"} {
				alter(c, altered(ofBroker, "", change(set, config)))
			}
			alter(c, altered(ofBroker, "1", change(add, "log.retention.ms=5")))
			alter(c, altered(ofBroker, "1", change(add, "no.such=5")))
			alter(c, altered(ofBroker, "1", change(9, "log.retention.ms=5")))
			alter(c, altered(ofBroker, "1", change(unset, "log.retention.ms")))
		}},
		{name: "kinds of resources", api: inc, run: func(c *client) {
			for _, kind := range []kmsg.ConfigResourceType{0, 1, 3, 5, 64, 127, -1} {
				alter(c, altered(kind, "x"))
			}
		}},
	}}
}

func change(op kmsg.IncrementalAlterConfigOp, config string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
	ch := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	name, value, has := strings.Cut(config, "=")
	ch.Name, ch.Op = name, op
	if has {
		ch.Value = &value
	}
	return ch
}

func altered(kind kmsg.ConfigResourceType, name string, changes ...kmsg.IncrementalAlterConfigsRequestResourceConfig) kmsg.IncrementalAlterConfigsRequestResource {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.Configs = kind, name, changes
	return r
}

func alterRequest(resources ...kmsg.IncrementalAlterConfigsRequestResource) *kmsg.IncrementalAlterConfigsRequest {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = resources
	return req
}

func alter(c *client, resources ...kmsg.IncrementalAlterConfigsRequestResource) {
	c.t.Helper()
	ask[*kmsg.IncrementalAlterConfigsResponse](c, alterRequest(resources...))
}

func replaced(kind kmsg.ConfigResourceType, name string, configs ...string) kmsg.AlterConfigsRequestResource {
	r := kmsg.NewAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, config := range configs {
		rc := kmsg.NewAlterConfigsRequestResourceConfig()
		name, value, _ := strings.Cut(config, "=")
		rc.Name, rc.Value = name, &value
		r.Configs = append(r.Configs, rc)
	}
	return r
}

func replace(c *client, resources ...kmsg.AlterConfigsRequestResource) {
	c.t.Helper()
	req := kmsg.NewPtrAlterConfigsRequest()
	req.Resources = resources
	ask[*kmsg.AlterConfigsResponse](c, req)
}

// configsOf has the values and synonyms of some configs told.
func (c *client) configsOf(kind kmsg.ConfigResourceType, resource string, names ...string) {
	c.t.Helper()
	req := describeConfigs(kind, resource, names...)
	req.IncludeSynonyms = true
	ask[*kmsg.DescribeConfigsResponse](c, req)
}

// settle waits until the broker goes by a config of a topic, which a Kafka may say before it does.
func (c *client) settle(topic, name, value string) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		configs := do[*kmsg.DescribeConfigsResponse](c, describeConfigs(ofTopic, topic, name)).Resources[0].Configs
		if slices.ContainsFunc(configs, func(r kmsg.DescribeConfigsResponseResourceConfig) bool {
			return r.Value != nil && *r.Value == value
		}) {
			return
		}
	}
	c.t.Fatalf("%s of %s is not %q after %v", name, topic, value, patience)
}
