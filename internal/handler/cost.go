package handler

import (
	"strconv"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/server"
	"segue/protocol"
)

// What answers take, in bytes for each element: as a message and encoded, with what the handler keeps meanwhile. The
// figures are above what TestCosts measures.
const (
	topicCost     = 600 // a topic in Metadata, names of usual length included
	partitionCost = 300 // a partition in it
	configCost    = 600 // a config in DescribeConfigs or CreateTopics
	synonymCost   = 250 // a synonym of one
	docCost       = 300 // the documentation of one
	createdCost   = 2 << 10
	alterCost     = 4 << 10 // a resource in AlterConfigs
	logCost       = 200     // a partition in DescribeLogDirs
	offsetCost    = 300     // a partition in OffsetFetch
	addedCost     = 600     // a partition in AddPartitionsToTxn and WriteTxnMarkers
	describedCost = 2 << 10
	fetchFactor   = 16 // of what a Fetch takes decoded
	ackCost       = 2*int(unsafe.Sizeof(kmsg.ProduceResponseTopicPartition{})) + int(unsafe.Sizeof(pendingAppend{})) + 256
)

// How many configs and synonyms there may be, rounded up.
const (
	topicConfigs  = 50
	brokerConfigs = 350
	synonyms      = 3
)

// cost implements server.API's Cost. The answer may be far larger than the request: it names all partitions of each
// topic that is asked for.
func (h *metadata) cost(r *server.Request, decoded int) int {
	req := r.Message.(*kmsg.MetadataRequest)
	image := h.image()
	if asksForAll(req) {
		return decoded + len(image.Topics())*topicCost + image.Partitions()*partitionCost
	}
	made := int(h.config().Broker().Partitions) // of a topic that may be created
	partitions := 0
	for _, t := range req.Topics {
		topic, ok := image.TopicByID(t.TopicID)
		if !ok && t.Topic != nil {
			topic, ok = image.Topic(*t.Topic)
		}
		if ok {
			partitions += int(topic.Partitions)
		} else {
			partitions += made
		}
	}
	return 4*decoded + len(req.Topics)*topicCost + partitions*partitionCost
}

// cost implements server.API's Cost: some bytes can ask for all configs of the broker.
func (h *describeConfigs) cost(r *server.Request, decoded int) int {
	req := r.Message.(*kmsg.DescribeConfigsRequest)
	each := configCost
	if req.IncludeSynonyms {
		each += synonyms * synonymCost
	}
	if req.IncludeDocumentation {
		each += docCost
	}
	image, configs := h.image(), 0
	altered := len(image.BrokerConfigs("")) + len(image.BrokerConfigs(strconv.Itoa(int(h.nodeID)))) // with unknown names among them
	for _, resource := range req.Resources {
		n := topicConfigs
		if resource.ResourceType != kmsg.ConfigResourceTypeTopic {
			n = brokerConfigs + altered
		}
		if asked := len(resource.ConfigNames); asked > 0 {
			n = min(n, asked)
		}
		configs += n
	}
	return 4*decoded + len(req.Resources)*topicCost + configs*each
}

// cost implements server.API's Cost: from version 5 on the configs of each topic are told.
func (h *createTopics) cost(r *server.Request, decoded int) int {
	req := r.Message.(*kmsg.CreateTopicsRequest)
	each := createdCost
	if req.Version >= 5 {
		each += topicConfigs * configCost
	}
	return 4*decoded + len(req.Topics)*each
}

// createPartitionsCost implements server.API's Cost.
func createPartitionsCost(r *server.Request, decoded int) int {
	return 4*decoded + len(r.Message.(*kmsg.CreatePartitionsRequest).Topics)*createdCost
}

// alterConfigsCost implements server.API's Cost: a copy of the configs of each resource.
func alterConfigsCost(r *server.Request, decoded int) int {
	return 8*decoded + len(r.Message.(*kmsg.AlterConfigsRequest).Resources)*alterCost + brokerConfigs*configCost
}

// incrementalAlterConfigsCost is alterConfigsCost for the other request.
func incrementalAlterConfigsCost(r *server.Request, decoded int) int {
	return 8*decoded + len(r.Message.(*kmsg.IncrementalAlterConfigsRequest).Resources)*alterCost + brokerConfigs*configCost
}

// produceCost implements server.API's Cost: what is kept of each partition until all are committed.
func produceCost(r *server.Request, _ int) int {
	req, err := protocol.ParseProduce(r.Version, r.Body)
	if err != nil {
		return 0 // begin will say so
	}
	return 512 + req.TopicCount()*topicCost/2 + req.PartitionCount()*ackCost
}

// fetchCost implements server.API's Cost. The partitions of a session that a request does not name are accounted for
// by the limit of sessions.
func fetchCost(_ *server.Request, decoded int) int { return fetchFactor * decoded }

// joinGroupCost implements server.API's Cost. It is claimed for as long as the request waits for others, so it is no more than
// that takes: the coordinator's copy of what the member says, and an answer without members.
func joinGroupCost(_ *server.Request, decoded int) int { return 2*decoded + 1<<10 }

// offsetFetchCost implements server.API's Cost: four bytes ask for an offset with its metadata.
func offsetFetchCost(r *server.Request, decoded int) int {
	req := r.Message.(*kmsg.OffsetFetchRequest)
	partitions := 0
	for _, t := range req.Topics {
		partitions += len(t.Partitions)
	}
	for _, g := range req.Groups {
		for _, t := range g.Topics {
			partitions += len(t.Partitions)
		}
	}
	return server.HandlingFactor*decoded + partitions*offsetCost
}

// addPartitionsToTxnCost implements server.API's Cost: four bytes name a partition, which is kept with its topic and answered.
func addPartitionsToTxnCost(r *server.Request, decoded int) int {
	req := r.Message.(*kmsg.AddPartitionsToTxnRequest)
	partitions := 0
	for _, t := range req.Topics {
		partitions += len(t.Partitions)
	}
	for _, transaction := range req.Transactions {
		for _, t := range transaction.Topics {
			partitions += len(t.Partitions)
		}
	}
	return server.HandlingFactor*decoded + partitions*addedCost
}

// writeTxnMarkersCost implements server.API's Cost.
func writeTxnMarkersCost(r *server.Request, decoded int) int {
	partitions := 0
	for _, m := range r.Message.(*kmsg.WriteTxnMarkersRequest).Markers {
		for _, t := range m.Topics {
			partitions += len(t.Partitions)
		}
	}
	return server.HandlingFactor*decoded + partitions*addedCost
}

// describeProducersCost implements server.API's Cost: of what there is to say where there are no producers.
func describeProducersCost(r *server.Request, decoded int) int {
	partitions := 0
	for _, t := range r.Message.(*kmsg.DescribeProducersRequest).Topics {
		partitions += len(t.Partitions)
	}
	return server.HandlingFactor*decoded + partitions*describedCost
}

// What answers of groups take whose size no request tells, as server.Sized has it: what lies behind each element, and its
// bytes as they are encoded, which a growing buffer holds twice. They are bytes that the coordinator holds too until
// then.
const (
	groupCost     = 300
	memberCost    = 500
	encodedFactor = 3
)

func joinGroupSize(r *kmsg.JoinGroupResponse) int {
	size := 0
	for _, m := range r.Members {
		size += memberCost + encodedFactor*(len(m.MemberID)+lengthOf(m.InstanceID)+len(m.ProtocolMetadata))
	}
	return size
}

func describeGroupsSize(r *kmsg.DescribeGroupsResponse) int {
	size := 0
	for _, g := range r.Groups {
		size += groupCost + encodedFactor*(len(g.Group)+lengthOf(g.ErrorMessage)+len(g.State)+len(g.ProtocolType)+len(g.Protocol))
		for _, m := range g.Members {
			size += memberCost + encodedFactor*(len(m.MemberID)+lengthOf(m.InstanceID)+len(m.ClientID)+
				len(m.ClientHost)+len(m.ProtocolMetadata)+len(m.MemberAssignment))
		}
	}
	return size
}

func listGroupsSize(r *kmsg.ListGroupsResponse) int {
	size := 0
	for _, g := range r.Groups {
		size += groupCost + encodedFactor*(len(g.Group)+len(g.ProtocolType)+len(g.GroupState)+len(g.GroupType))
	}
	return size
}

func offsetFetchSize(r *kmsg.OffsetFetchResponse) int {
	size := 0
	for _, g := range r.Groups {
		for _, t := range g.Topics {
			size += topicCost + encodedFactor*len(t.Topic)
			for _, p := range t.Partitions {
				size += offsetCost + encodedFactor*lengthOf(p.Metadata)
			}
		}
	}
	for _, t := range r.Topics {
		size += topicCost + encodedFactor*len(t.Topic)
		for _, p := range t.Partitions {
			size += offsetCost + encodedFactor*lengthOf(p.Metadata)
		}
	}
	return size
}

func lengthOf(s *string) int {
	if s == nil {
		return 0
	}
	return len(*s)
}
