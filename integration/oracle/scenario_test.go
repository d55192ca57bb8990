package oracle

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// scenario is a conversation about one subject, with a broker that has just been started.
type scenario struct {
	name string // of its file in testdata
	// settings (name=value) of both brokers, beside baseSettings.
	settings []string
	cases    []oneCase
}

// oneCase is held in each version of an API that Kafka serves, each time with a connection of its own. Topics, groups and
// the like that it makes are its own too: see client.fresh.
type oneCase struct {
	name string // what is asked or said, in words
	api  kmsg.Key
	// from and to bound the versions; to 0 is the newest.
	from, to int16
	run      func(*client)
}

// baseSettings hold for both brokers. The first of them are those without which a Kafka does not stand alone.
var baseSettings = []string{
	"node.id=1",
	"process.roles=broker,controller",
	"offsets.topic.replication.factor=1",
	"share.coordinator.state.topic.replication.factor=1",
	"share.coordinator.state.topic.min.isr=1",
	"transaction.state.log.replication.factor=1",
	"transaction.state.log.min.isr=1",
	"group.initial.rebalance.delay.ms=0",
	"group.min.session.timeout.ms=100",
	"offsets.topic.num.partitions=3",
}

// scenarios are all of them.
func scenarios() []scenario {
	return []scenario{
		addToTxnScenario(),
		alterConfigsScenario(),
		clusterScenario(),
		createPartitionsScenario(),
		createTopicsScenario(),
		deleteGroupsScenario(),
		deleteRecordsScenario(),
		deleteTopicsScenario(),
		describeConfigsScenario(),
		describeGroupsScenario(),
		describeLogDirsScenario(),
		endTxnScenario(),
		fetchLimitsScenario(),
		fetchScenario(),
		fetchSessionsScenario(),
		findCoordinatorScenario(),
		framesScenario(),
		groupLimitsScenario(),
		heartbeatScenario(),
		idempotenceScenario(),
		incrementalAlterConfigsScenario(),
		initProducerIDScenario(),
		joinGroupScenario(),
		leaderEpochsScenario(),
		leaveGroupScenario(),
		listConfigResourcesScenario(),
		listGroupsScenario(),
		listOffsetsScenario(),
		metadataScenario(),
		noAutoCreationScenario(),
		noCoordinatorScenario(),
		noDeletionScenario(),
		nullsScenario(),
		offsetCommitScenario(),
		offsetDeleteScenario(),
		offsetFetchScenario(),
		offsetForLeaderEpochScenario(),
		produceBatchesScenario(),
		produceScenario(),
		rebalanceDelayScenario(),
		rebalanceScenario(),
		staticMembersScenario(),
		syncGroupScenario(),
		txnAdminScenario(),
		txnMarkersScenario(),
		txnOffsetCommitScenario(),
		txnProduceScenario(),
		txnReadScenario(),
		txnTimeoutScenario(),
		txnVersionOneScenario(),
		updateFeaturesScenario(),
	}
}

// TestScenarios: a name is the name of one.
func TestScenarios(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scenarios() {
		for _, c := range s.cases {
			if name := s.name + "/" + c.name; seen[name] {
				t.Errorf("%s is there twice", name)
			} else {
				seen[name] = true
			}
		}
	}
}
