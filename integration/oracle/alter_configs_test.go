package oracle

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	topicConfigs  = kmsg.ConfigResourceTypeTopic
	brokerConfigs = kmsg.ConfigResourceTypeBroker
)

func incrementalAlterConfigsScenario() scenario {
	const set, remove, add, subtract = kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete,
		kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract
	return scenario{name: "incremental_alter_configs", cases: []oneCase{
		{name: "set and delete", api: kmsg.IncrementalAlterConfigs, run: func(c *client) {
			t := c.topic("t", 1, "retention.ms=5000")
			alter(c, topicConfigs, t.name, change{set, "segment.ms=7000"}, change{set, "retention.ms=6000"})
			c.settle()
			ask[*kmsg.DescribeConfigsResponse](c, describeConfigs(topicConfigs, t.name, "retention.ms", "segment.ms"))
			alter(c, topicConfigs, t.name, change{remove, "segment.ms"}, change{remove, "flush.ms"})
			c.settle()
			ask[*kmsg.DescribeConfigsResponse](c, describeConfigs(topicConfigs, t.name, "retention.ms", "segment.ms"))
			alter(c, topicConfigs, t.name)
		}},
		{name: "append and subtract", api: kmsg.IncrementalAlterConfigs, run: func(c *client) {
			t := c.topic("t", 1)
			shown := func() {
				c.settle()
				ask[*kmsg.DescribeConfigsResponse](c, describeConfigs(topicConfigs, t.name, "cleanup.policy"))
			}
			for _, step := range []change{
				{add, "cleanup.policy=compact"}, {add, "cleanup.policy=compact"}, {subtract, "cleanup.policy=delete"},
				{subtract, "cleanup.policy=delete"}, {add, "cleanup.policy=delete,compact"}, {subtract, "cleanup.policy=compact,delete"},
				{add, "cleanup.policy=shred"}, {add, "retention.ms=5"}, {subtract, "retention.ms=5"},
			} {
				alter(c, topicConfigs, t.name, step)
				shown()
			}
		}},
		{name: "configs that are none", api: kmsg.IncrementalAlterConfigs, run: func(c *client) {
			t := c.topic("t", 1)
			for _, config := range badTopicConfigs() {
				alter(c, topicConfigs, t.name, change{set, config})
			}
			alter(c, topicConfigs, t.name, change{remove, "no.such.config"})
			alter(c, topicConfigs, t.name, change{set, "retention.ms=5"}, change{set, "segment.ms=never"})
			c.settle()
			ask[*kmsg.DescribeConfigsResponse](c, describeConfigs(topicConfigs, t.name, "segment.ms"))
		}},
		{name: "operations that are none", api: kmsg.IncrementalAlterConfigs, run: func(c *client) {
			t := c.topic("t", 1)
			for _, op := range []kmsg.IncrementalAlterConfigOp{4, -1, 127} {
				alter(c, topicConfigs, t.name, change{op, "retention.ms=5"})
			}
		}},
		{name: "no value", api: kmsg.IncrementalAlterConfigs, run: func(c *client) {
			t := c.topic("t", 1, "retention.ms=5000")
			for _, op := range []kmsg.IncrementalAlterConfigOp{set, remove, add, subtract} {
				req := alterRequest(topicConfigs, t.name, change{op, "retention.ms"})
				req.Resources[0].Configs[0].Value = nil
				ask[*kmsg.IncrementalAlterConfigsResponse](c, req)
			}
		}},
		{name: "a config twice", api: kmsg.IncrementalAlterConfigs, run: func(c *client) {
			t := c.topic("t", 1)
			alter(c, topicConfigs, t.name, change{set, "retention.ms=5"}, change{set, "retention.ms=6"})
			alter(c, topicConfigs, t.name, change{set, "retention.ms=5"}, change{remove, "retention.ms"})
		}},
		{name: "a resource twice", api: kmsg.IncrementalAlterConfigs, run: func(c *client) {
			t, other := c.topic("t", 1), c.topic("other", 1)
			req := alterRequest(topicConfigs, t.name, change{set, "retention.ms=5"})
			for _, name := range []string{other.name, t.name} {
				req.Resources = append(req.Resources, alterRequest(topicConfigs, name, change{set, "segment.ms=5"}).Resources...)
			}
			ask[*kmsg.IncrementalAlterConfigsResponse](c, req)
		}},
		{name: "what is not there", api: kmsg.IncrementalAlterConfigs, run: func(c *client) {
			alter(c, topicConfigs, c.fresh("missing"), change{set, "retention.ms=5"})
			for _, name := range badTopicNames() {
				alter(c, topicConfigs, name, change{set, "retention.ms=5"})
			}
			for _, id := range []string{"2", "-1", "one"} {
				alter(c, brokerConfigs, id, change{set, "log.retention.ms=5000"})
			}
			for _, kind := range []kmsg.ConfigResourceType{0, 1, 3, 127, -1} {
				alter(c, kind, "x", change{set, "a=b"})
			}
		}},
		{name: "nothing", api: kmsg.IncrementalAlterConfigs, run: func(c *client) {
			ask[*kmsg.IncrementalAlterConfigsResponse](c, kmsg.NewPtrIncrementalAlterConfigsRequest())
		}},
		{name: "only asking", api: kmsg.IncrementalAlterConfigs, run: func(c *client) {
			t := c.topic("t", 1)
			for _, config := range []string{"retention.ms=5", "retention.ms=never"} {
				req := alterRequest(topicConfigs, t.name, change{set, config})
				req.ValidateOnly = true
				ask[*kmsg.IncrementalAlterConfigsResponse](c, req)
			}
			c.settle()
			ask[*kmsg.DescribeConfigsResponse](c, describeConfigs(topicConfigs, t.name, "retention.ms"))
		}},
		{name: "a broker", api: kmsg.IncrementalAlterConfigs, run: func(c *client) {
			// shown waits until the setting has this value and this source, or is not there.
			shown := func(broker string, value string, source kmsg.ConfigSource) {
				c.t.Helper()
				req := describeConfigs(brokerConfigs, broker, "log.retention.ms")
				req.IncludeSynonyms = true
				askUntil(c, req, func(resp *kmsg.DescribeConfigsResponse) bool {
					configs := resp.Resources[0].Configs
					if len(configs) == 0 {
						return value == ""
					}
					has := ""
					if configs[0].Value != nil {
						has = *configs[0].Value
					}
					return has == value && configs[0].Source == source
				})
			}
			const of1, ofAll, none = kmsg.ConfigSourceDynamicBrokerConfig, kmsg.ConfigSourceDynamicDefaultBrokerConfig, kmsg.ConfigSourceDefaultConfig
			alter(c, brokerConfigs, "", change{set, "log.retention.ms=7200000"})
			shown("", "7200000", ofAll)
			shown("1", "7200000", ofAll)
			alter(c, brokerConfigs, "1", change{set, "log.retention.ms=7300000"})
			shown("1", "7300000", of1)
			t := c.topic("t", 1)
			c.settle()
			ask[*kmsg.DescribeConfigsResponse](c, describeConfigs(topicConfigs, t.name, "retention.ms"))
			alter(c, brokerConfigs, "1", change{remove, "log.retention.ms"})
			shown("1", "7200000", ofAll)
			alter(c, brokerConfigs, "", change{remove, "log.retention.ms"})
			shown("1", "", none)
		}},
		{name: "a broker's configs that cannot be altered", api: kmsg.IncrementalAlterConfigs, run: func(c *client) {
			for _, config := range []string{
				"node.id=2", "log.dirs=/nowhere", "no.such.config=1", "log.retention.ms=never", "process.roles=broker",
				"message.max.bytes=-1", "auto.create.topics.enable=true",
			} {
				alter(c, brokerConfigs, "1", change{set, config})
				alter(c, brokerConfigs, "", change{set, config})
			}
		}},
	}}
}

func alterConfigsScenario() scenario {
	replace := func(kind kmsg.ConfigResourceType, name string, configs ...string) *kmsg.AlterConfigsRequest {
		req := kmsg.NewPtrAlterConfigsRequest()
		r := kmsg.NewAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kind, name
		for _, text := range configs {
			rc := kmsg.NewAlterConfigsRequestResourceConfig()
			name, value, found := strings.Cut(text, "=")
			if rc.Name = name; found {
				rc.Value = &value
			}
			r.Configs = append(r.Configs, rc)
		}
		req.Resources = append(req.Resources, r)
		return req
	}
	alterAll := func(c *client, kind kmsg.ConfigResourceType, name string, configs ...string) {
		c.t.Helper()
		ask[*kmsg.AlterConfigsResponse](c, replace(kind, name, configs...))
	}
	return scenario{name: "alter_configs", cases: []oneCase{
		{name: "all of a topic's", api: kmsg.AlterConfigs, run: func(c *client) {
			t := c.topic("t", 1, "retention.ms=5000")
			shown := func() {
				c.settle()
				ask[*kmsg.DescribeConfigsResponse](c, describeConfigs(topicConfigs, t.name, "retention.ms", "segment.ms"))
			}
			alterAll(c, topicConfigs, t.name, "segment.ms=7000")
			shown()
			alterAll(c, topicConfigs, t.name)
			shown()
		}},
		{name: "configs that are none", api: kmsg.AlterConfigs, run: func(c *client) {
			t := c.topic("t", 1, "segment.ms=7000")
			for _, config := range badTopicConfigs() {
				alterAll(c, topicConfigs, t.name, config)
			}
			alterAll(c, topicConfigs, t.name, "retention.ms")
			alterAll(c, topicConfigs, t.name, "retention.ms=5", "retention.ms=6")
			c.settle()
			ask[*kmsg.DescribeConfigsResponse](c, describeConfigs(topicConfigs, t.name, "segment.ms", "retention.ms"))
		}},
		{name: "what is not there", api: kmsg.AlterConfigs, run: func(c *client) {
			alterAll(c, topicConfigs, c.fresh("missing"), "retention.ms=5")
			alterAll(c, topicConfigs, "a b", "retention.ms=5")
			for _, id := range []string{"2", "-1", "one"} {
				alterAll(c, brokerConfigs, id, "log.retention.ms=5000")
			}
			for _, kind := range []kmsg.ConfigResourceType{0, 1, 3, 127, -1} {
				alterAll(c, kind, "x", "a=b")
			}
		}},
		// A resource that is named twice is never answered by Kafka.
		{name: "only asking", api: kmsg.AlterConfigs, run: func(c *client) {
			t := c.topic("t", 1)
			for _, config := range []string{"retention.ms=5", "retention.ms=never"} {
				req := replace(topicConfigs, t.name, config)
				req.ValidateOnly = true
				ask[*kmsg.AlterConfigsResponse](c, req)
			}
			c.settle()
			ask[*kmsg.DescribeConfigsResponse](c, describeConfigs(topicConfigs, t.name, "retention.ms"))
		}},
		{name: "all of a broker's", api: kmsg.AlterConfigs, run: func(c *client) {
			// shown waits until segments have this size.
			shown := func(size string) {
				c.t.Helper()
				req := describeConfigs(brokerConfigs, "1", "log.retention.ms", "log.segment.bytes")
				askUntil(c, req, func(resp *kmsg.DescribeConfigsResponse) bool {
					return slices.ContainsFunc(resp.Resources[0].Configs, func(e kmsg.DescribeConfigsResponseResourceConfig) bool {
						return e.Name == "log.segment.bytes" && *e.Value == size
					})
				})
			}
			alterAll(c, brokerConfigs, "1", "log.retention.ms=7200000", "log.segment.bytes=2000000")
			shown("2000000")
			alterAll(c, brokerConfigs, "1", "log.segment.bytes=3000000")
			shown("3000000")
			alterAll(c, brokerConfigs, "1")
			shown("1073741824")
			alterAll(c, brokerConfigs, "1", "node.id=2")
		}},
	}}
}

// change is one operation on a config (name=value).
type change struct {
	op     kmsg.IncrementalAlterConfigOp
	config string
}

func alterRequest(kind kmsg.ConfigResourceType, name string, changes ...change) *kmsg.IncrementalAlterConfigsRequest {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, change := range changes {
		rc := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		name, value, _ := strings.Cut(change.config, "=")
		rc.Op, rc.Name, rc.Value = change.op, name, &value
		r.Configs = append(r.Configs, rc)
	}
	req.Resources = append(req.Resources, r)
	return req
}

func alter(c *client, kind kmsg.ConfigResourceType, name string, changes ...change) {
	c.t.Helper()
	ask[*kmsg.IncrementalAlterConfigsResponse](c, alterRequest(kind, name, changes...))
}
