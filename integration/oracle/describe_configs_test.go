package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

func describeConfigsScenario() scenario {
	return scenario{name: "describe_configs", settings: []string{"log.retention.hours=100", "compression.type=zstd", "num.io.threads=9"}, cases: []oneCase{
		{name: "all of a topic", api: kmsg.DescribeConfigs, from: 4, run: func(c *client) {
			req := describeConfigs(topicConfigs, c.topic("t", 1, "retention.ms=5000", "segment.bytes=2000000").name)
			req.IncludeSynonyms, req.IncludeDocumentation = true, true
			ask[*kmsg.DescribeConfigsResponse](c, req)
		}},
		{name: "all of the broker", api: kmsg.DescribeConfigs, from: 4, run: func(c *client) {
			req := describeConfigs(brokerConfigs, "1")
			req.IncludeSynonyms, req.IncludeDocumentation = true, true
			ask[*kmsg.DescribeConfigsResponse](c, req)
		}},
		{name: "some of a topic", api: kmsg.DescribeConfigs, run: func(c *client) {
			t := c.topic("t", 1, "retention.ms=5000")
			req := describeConfigs(topicConfigs, t.name, "retention.ms", "compression.type", "flush.ms", "no.such.config", "retention.ms")
			ask[*kmsg.DescribeConfigsResponse](c, req)
			req.IncludeSynonyms = true
			ask[*kmsg.DescribeConfigsResponse](c, req)
			req.IncludeDocumentation = true
			ask[*kmsg.DescribeConfigsResponse](c, req)
		}},
		{name: "some of the broker", api: kmsg.DescribeConfigs, run: func(c *client) {
			names := []string{"log.retention.ms", "log.retention.hours", "num.io.threads", "compression.type", "background.threads", "no.such.config"}
			req := describeConfigs(brokerConfigs, "1", names...)
			ask[*kmsg.DescribeConfigsResponse](c, req)
			req.IncludeSynonyms = true
			ask[*kmsg.DescribeConfigsResponse](c, req)
		}},
		{name: "the defaults of all brokers", api: kmsg.DescribeConfigs, run: func(c *client) {
			req := describeConfigs(brokerConfigs, "")
			req.IncludeSynonyms = true
			ask[*kmsg.DescribeConfigsResponse](c, req)
		}},
		{name: "an empty list of names", api: kmsg.DescribeConfigs, run: func(c *client) {
			req := describeConfigs(brokerConfigs, "")
			req.Resources[0].ConfigNames = []string{}
			ask[*kmsg.DescribeConfigsResponse](c, req)
		}},
		{name: "what is not there", api: kmsg.DescribeConfigs, run: func(c *client) {
			ask[*kmsg.DescribeConfigsResponse](c, describeConfigs(topicConfigs, c.fresh("missing")))
			for _, name := range badTopicNames() {
				ask[*kmsg.DescribeConfigsResponse](c, describeConfigs(topicConfigs, name))
			}
			for _, id := range []string{"2", "-1", "one", " 1", "+1", "01"} {
				ask[*kmsg.DescribeConfigsResponse](c, describeConfigs(brokerConfigs, id, "compression.type"))
			}
		}},
		{name: "kinds of resources", api: kmsg.DescribeConfigs, run: func(c *client) {
			for _, kind := range []kmsg.ConfigResourceType{0, 1, 3, 5, 64, 127, -1} {
				ask[*kmsg.DescribeConfigsResponse](c, describeConfigs(kind, "x"))
			}
			req := describeConfigs(64, "x")
			req.Resources = append(req.Resources, describeConfigs(brokerConfigs, "").Resources...)
			ask[*kmsg.DescribeConfigsResponse](c, req)
		}},
		{name: "a resource twice", api: kmsg.DescribeConfigs, run: func(c *client) {
			t := c.topic("t", 1)
			req := describeConfigs(topicConfigs, t.name, "retention.ms")
			req.Resources = append(req.Resources, describeConfigs(topicConfigs, t.name, "segment.ms").Resources...)
			ask[*kmsg.DescribeConfigsResponse](c, req)
		}},
		{name: "no resources", api: kmsg.DescribeConfigs, run: func(c *client) {
			ask[*kmsg.DescribeConfigsResponse](c, kmsg.NewPtrDescribeConfigsRequest())
		}},
	}}
}

// describeConfigs asks for configs of a resource; without names, for all.
func describeConfigs(kind kmsg.ConfigResourceType, resource string, names ...string) *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kind, resource, names
	req.Resources = append(req.Resources, r)
	return req
}
