package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

// metadataScenario is about topics that are named; what concerns all of the broker's topics is clusterScenario.
func metadataScenario() scenario {
	return scenario{name: "metadata", cases: []oneCase{
		{name: "topics by name", api: kmsg.Metadata, run: func(c *client) {
			one, two := c.topic("one", 1), c.topic("two", 3)
			ask[*kmsg.MetadataResponse](c, metadataRequest(one.name))
			ask[*kmsg.MetadataResponse](c, metadataRequest(two.name, one.name))
			ask[*kmsg.MetadataResponse](c, metadataRequest(one.name, one.name))
		}},
		{name: "what clients may do", api: kmsg.Metadata, from: 8, run: func(c *client) {
			t := c.topic("t", 1)
			req := metadataRequest(t.name)
			req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = true, true
			ask[*kmsg.MetadataResponse](c, req)
		}},
		{name: "a topic that is not there and is not to be made", api: kmsg.Metadata, from: 4, run: func(c *client) {
			t, missing := c.topic("t", 1), c.fresh("missing")
			ask[*kmsg.MetadataResponse](c, metadataRequest(missing, t.name))
			req := metadataRequest(missing)
			req.IncludeTopicAuthorizedOperations = true
			ask[*kmsg.MetadataResponse](c, req)
		}},
		{name: "names that are none", api: kmsg.Metadata, from: 4, run: func(c *client) {
			for _, name := range badTopicNames() {
				ask[*kmsg.MetadataResponse](c, metadataRequest(name))
			}
		}},
		{name: "names that are none, to be made", api: kmsg.Metadata, run: func(c *client) {
			for _, name := range badTopicNames() {
				req := metadataRequest(name)
				req.AllowAutoTopicCreation = true
				ask[*kmsg.MetadataResponse](c, req)
			}
		}},
		{name: "a topic that is made when it is asked for", api: kmsg.Metadata, run: func(c *client) {
			req := metadataRequest(c.fresh("made"))
			req.AllowAutoTopicCreation = true
			ask[*kmsg.MetadataResponse](c, req)
		}},
		{name: "a name that collides with another, to be made", api: kmsg.Metadata, run: func(c *client) {
			base := c.fresh("collide")
			create(c, newTopic(base+".a", 1))
			req := metadataRequest(base + "_a")
			req.AllowAutoTopicCreation = true
			ask[*kmsg.MetadataResponse](c, req)
		}},
		{name: "topics by id", api: kmsg.Metadata, from: 10, run: func(c *client) {
			t := c.topic("t", 2)
			byID := func(id [16]byte) kmsg.MetadataRequestTopic {
				rt := kmsg.NewMetadataRequestTopic()
				rt.TopicID = id
				return rt
			}
			req := metadataRequest()
			req.Topics = append(req.Topics, byID(t.id))
			ask[*kmsg.MetadataResponse](c, req)
			req.Topics = append(req.Topics, byID([16]byte{1, 2, 3}))
			ask[*kmsg.MetadataResponse](c, req)
			req.Topics = append(req.Topics[:1], metadataRequest(t.name).Topics...)
			ask[*kmsg.MetadataResponse](c, req)
			req.Topics = []kmsg.MetadataRequestTopic{byID(t.id)}
			req.Topics[0].Topic = &t.name
			ask[*kmsg.MetadataResponse](c, req)
			req.Topics = []kmsg.MetadataRequestTopic{byID(t.id)}
			req.IncludeTopicAuthorizedOperations = true
			ask[*kmsg.MetadataResponse](c, req)
		}},
		{name: "no name and no id", api: kmsg.Metadata, from: 10, run: func(c *client) {
			req := metadataRequest()
			req.Topics = append(req.Topics, kmsg.NewMetadataRequestTopic())
			begin[*kmsg.MetadataResponse](c, req).isClosed()
		}},
		{name: "an internal topic that is not there, to be made", api: kmsg.Metadata, run: func(c *client) {
			req := metadataRequest("__cluster_metadata")
			req.AllowAutoTopicCreation = true
			ask[*kmsg.MetadataResponse](c, req)
		}},
	}}
}

// noAutoCreation is a broker that makes no topics that are only asked for.
func noAutoCreationScenario() scenario {
	return scenario{name: "no_auto_creation", settings: []string{"auto.create.topics.enable=false"}, cases: []oneCase{
		{name: "a topic that is not there", api: kmsg.Metadata, run: func(c *client) {
			req := metadataRequest(c.fresh("missing"))
			req.AllowAutoTopicCreation = true
			ask[*kmsg.MetadataResponse](c, req)
		}},
		{name: "names that are none", api: kmsg.Metadata, run: func(c *client) {
			for _, name := range badTopicNames() {
				req := metadataRequest(name)
				req.AllowAutoTopicCreation = true
				ask[*kmsg.MetadataResponse](c, req)
			}
		}},
	}}
}

// clusterScenario is about the broker as a whole.
func clusterScenario() scenario {
	all := func() *kmsg.MetadataRequest {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = nil
		return req
	}
	return scenario{name: "cluster", cases: []oneCase{
		{name: "all topics where there are none", api: kmsg.Metadata, run: func(c *client) {
			ask[*kmsg.MetadataResponse](c, metadataRequest())
			if c.version > 0 { // in 0 there is no null
				ask[*kmsg.MetadataResponse](c, all())
			}
		}},
		{name: "who is there", api: kmsg.DescribeCluster, run: func(c *client) {
			req := kmsg.NewPtrDescribeClusterRequest()
			ask[*kmsg.DescribeClusterResponse](c, req)
			req.IncludeClusterAuthorizedOperations = true
			ask[*kmsg.DescribeClusterResponse](c, req)
		}},
		{name: "who is there, of another kind", api: kmsg.DescribeCluster, from: 1, run: func(c *client) {
			for _, kind := range []int8{0, 2, 3, -1} {
				req := kmsg.NewPtrDescribeClusterRequest()
				req.EndpointType = kind
				ask[*kmsg.DescribeClusterResponse](c, req)
			}
		}},
		{name: "who is there, fenced or not", api: kmsg.DescribeCluster, from: 2, run: func(c *client) {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.IncludeFencedBrokers = true
			ask[*kmsg.DescribeClusterResponse](c, req)
		}},
		{name: "all topics", api: kmsg.Metadata, from: 1, to: 1, run: func(c *client) {
			c.topic("one", 1)
			c.topic("two", 2)
			ask[*kmsg.MetadataResponse](c, all())
			ask[*kmsg.MetadataResponse](c, metadataRequest())
		}},
		{name: "the groups' topic", api: kmsg.Metadata, from: 13, run: func(c *client) {
			c.topic("t", 1) // whose leader epoch is that of all topics
			find := kmsg.NewPtrFindCoordinatorRequest()
			find.CoordinatorKeys = []string{"g"}
			for do[*kmsg.FindCoordinatorResponse](c, find).Coordinators[0].ErrorCode != 0 {
				// Kafka is still making the topic
			}
			ask[*kmsg.MetadataResponse](c, metadataRequest("__consumer_offsets"))
		}},
		{name: "versions", api: kmsg.ApiVersions, run: func(c *client) {
			req := kmsg.NewPtrApiVersionsRequest()
			req.ClientSoftwareName, req.ClientSoftwareVersion = "oracle", "1.0"
			ask[*kmsg.ApiVersionsResponse](c, req)
		}},
		{name: "versions, to clients with odd names", api: kmsg.ApiVersions, from: 3, run: func(c *client) {
			for _, name := range [][2]string{{"", "1"}, {"a", ""}, {"-a", "1"}, {"a b", "1"}, {"a", "1_0"}, {"a.b-C", "1.0-x"}} {
				req := kmsg.NewPtrApiVersionsRequest()
				req.ClientSoftwareName, req.ClientSoftwareVersion = name[0], name[1]
				if resp := ask[*kmsg.ApiVersionsResponse](c, req); resp.ErrorCode == 0 {
					c.steps = c.steps[:len(c.steps)-1] // it is as in the case before
				}
			}
		}},
	}}
}

// badTopicNames are names that a topic cannot have.
func badTopicNames() []string {
	long := make([]byte, 250)
	for i := range long {
		long[i] = 'x'
	}
	return []string{"", ".", "..", "a b", "a/b", "ä", "a:b", string(long)}
}

// metadataRequest asks for topics by name, and that none is made.
func metadataRequest(topics ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range topics {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &name
		req.Topics = append(req.Topics, rt)
	}
	return req
}
