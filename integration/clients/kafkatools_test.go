//go:build integration && unix

package clients

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/integration/kafka"
)

// kafkaTools is how SEGUE_CLIENTS names the command-line tools of Apache Kafka. They are not in the table, since each does
// its own part of what a client does.
const kafkaTools = "kafka-tools"

// The classes of the tools, as the scripts kafka-topics.sh and so on run them.
const (
	topicsTool     = "org.apache.kafka.tools.TopicCommand"
	configsTool    = "kafka.admin.ConfigCommand"
	producerTool   = "org.apache.kafka.tools.ConsoleProducer"
	consumerTool   = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	groupsTool     = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	producePerf    = "org.apache.kafka.tools.ProducerPerformance"
	consumePerf    = "org.apache.kafka.tools.ConsumerPerformance"
	getOffsetsTool = "org.apache.kafka.tools.GetOffsetShell"
	logDirsTool    = "org.apache.kafka.tools.LogDirsCommand"
	dumpLogTool    = "org.apache.kafka.tools.DumpLogSegments"
	deleteTool     = "org.apache.kafka.tools.DeleteRecordsCommand"
	versionsTool   = "org.apache.kafka.tools.BrokerApiVersionsCommand"
	clusterTool    = "org.apache.kafka.tools.ClusterTool"
	featuresTool   = "org.apache.kafka.tools.FeatureCommand"
)

// tools is the command-line tools at work on a broker in one scenario.
type tools struct {
	*session
	k *kafka.Kafka
}

// TestTools runs the command-line tools of Apache Kafka, and reads what they print.
func TestTools(t *testing.T) {
	choice := strings.Split(os.Getenv("SEGUE_CLIENTS"), ",")
	if !slices.Contains(choice, kafkaTools) && !slices.Contains(choice, "all") {
		t.Skipf("SEGUE_CLIENTS does not name %s", kafkaTools)
	}
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	k, err := kafka.Fetch(ctx)
	if errors.Is(err, kafka.ErrMissing) && os.Getenv("SEGUE_CLIENTS_STRICT") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	judge := newSession(t, &client{name: kafkaTools}, servers(t, t.TempDir())(t))
	for name, run := range map[string]func(*tools){
		"kafka-topics":              (*tools).topics,
		"kafka-configs-topic":       (*tools).topicConfigs,
		"kafka-configs-broker":      (*tools).brokerConfigs,
		"kafka-console-producer":    (*tools).consoleProducer,
		"kafka-console-consumer":    (*tools).consoleConsumer,
		"kafka-consumer-groups":     (*tools).consumerGroups,
		"kafka-perf-test":           (*tools).perfTest,
		"kafka-get-offsets":         (*tools).getOffsets,
		"kafka-delete-records":      (*tools).deleteRecords,
		"kafka-log-dirs":            (*tools).logDirs,
		"kafka-dump-log":            (*tools).dumpLog,
		"kafka-broker-api-versions": (*tools).apiVersions,
		"kafka-cluster":             (*tools).cluster,
		"kafka-features":            (*tools).features,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := *judge
			s.t, s.scenario = t, name
			run(&tools{&s, k})
		})
	}
}

// run runs a tool that talks to the broker, and returns what it prints.
func (c *tools) run(class string, args ...string) string {
	c.t.Helper()
	return c.feed("", class, args...)
}

// feed is run with something on the tool's standard input.
func (c *tools) feed(input, class string, args ...string) string {
	c.t.Helper()
	out, err := c.attempt(input, class, append(args, "--bootstrap-server", c.b.addr())...)
	if err != nil {
		c.t.Fatalf("%s %s: %v\n%s", class, strings.Join(args, " "), err, out)
	}
	return out
}

// refused runs a tool that is to fail, and returns what it prints.
func (c *tools) refused(class string, args ...string) string {
	c.t.Helper()
	out, err := c.attempt("", class, append(args, "--bootstrap-server", c.b.addr())...)
	if err == nil {
		c.t.Errorf("%s %s does not fail:\n%s", class, strings.Join(args, " "), out)
	}
	return out
}

// attempt runs a tool with all its arguments.
func (c *tools) attempt(input, class string, args ...string) (string, error) {
	cmd := c.k.Command(within(c.t), class, args...)
	cmd.Stdin, cmd.SysProcAttr = strings.NewReader(input), tiedGroup()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// prints expects what a tool prints to match each of the expressions, in which ^ and $ are the ends of a line.
func (c *tools) prints(out string, expressions ...string) {
	c.t.Helper()
	for _, e := range expressions {
		if !regexp.MustCompile("(?m)" + e).MatchString(out) {
			c.t.Errorf("it prints\n%s\nwhich has no %s", out, e)
		}
	}
}

// lacking expects what a tool prints to match none of the expressions.
func (c *tools) lacking(out string, expressions ...string) {
	c.t.Helper()
	for _, e := range expressions {
		if regexp.MustCompile("(?m)" + e).MatchString(out) {
			c.t.Errorf("it prints\n%s\nwhich has %s", out, e)
		}
	}
}

// linesOf are the lines that a tool prints, without those that are empty.
func linesOf(out string) []string {
	return slices.DeleteFunc(strings.Split(out, "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
}

// topics: a topic comes, is told of, grows, and goes.
func (c *tools) topics() {
	const name = "topics.of-a-tool"
	create := []string{"--create", "--topic", name, "--partitions", "2", "--replication-factor", "1", "--config", "retention.ms=3600000"}
	c.prints(c.run(topicsTool, create...), `^Created topic topics\.of-a-tool\.$`)
	c.awaitTopic(name, 2)
	c.prints(c.refused(topicsTool, create...), `Topic 'topics\.of-a-tool' already exists\.`)
	c.run(topicsTool, "--alter", "--topic", name, "--partitions", "4")
	c.awaitTopic(name, 4)
	c.prints(c.refused(topicsTool, "--alter", "--topic", name, "--partitions", "3"), `currently has 4 partition\(s\); 3 would not be an increase`)
	c.prints(c.run(topicsTool, "--list"), `^topics\.of-a-tool$`)
	c.prints(c.run(topicsTool, "--describe", "--topic", name),
		`^Topic: topics\.of-a-tool\tTopicId: \S{22}\tPartitionCount: 4\tReplicationFactor: 1\tConfigs: \S*retention\.ms=3600000`,
		`^\tTopic: topics\.of-a-tool\tPartition: 0\tLeader: 1\tReplicas: 1\tIsr: 1\t`,
		`^\tTopic: topics\.of-a-tool\tPartition: 3\tLeader: 1\tReplicas: 1\tIsr: 1\t`)
	c.run(topicsTool, "--delete", "--topic", name)
	c.awaitTopic(name, 0)
	c.prints(c.refused(topicsTool, "--create", "--topic", "r3", "--replication-factor", "3"),
		`The target replication factor of 3 cannot be reached because only 1 broker\(s\) are registered`)
}

// topicConfigs: configs of a topic are told, altered one by one, and taken back.
func (c *tools) topicConfigs() {
	topic := c.topic(1, "segment.bytes=2000000")
	of := []string{"--entity-type", "topics", "--entity-name", topic}
	c.prints(c.run(configsTool, append(of, "--alter", "--add-config", "retention.ms=7200000,cleanup.policy=[compact,delete]")...),
		`^Completed updating config for topic for-kafka-configs-topic\.$`)
	c.hasConfig(topic, "retention.ms", "7200000")
	out := c.run(configsTool, append(of, "--describe")...)
	c.prints(out, `^Dynamic configs for topic for-kafka-configs-topic are:$`,
		`^  cleanup\.policy=compact,delete sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:cleanup\.policy=compact,delete, DEFAULT_CONFIG:log\.cleanup\.policy=delete\}$`,
		`^  retention\.ms=7200000 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:retention\.ms=7200000\}$`,
		`^  segment\.bytes=2000000 `)
	c.lacking(out, `flush\.ms`)
	c.run(configsTool, append(of, "--alter", "--delete-config", "retention.ms")...)
	c.hasConfig(topic, "retention.ms", "604800000")
	out = c.run(configsTool, append(of, "--describe", "--all")...)
	c.prints(out, `^All configs for topic for-kafka-configs-topic are:$`, `^  retention\.ms=604800000 sensitive=false synonyms=\{\}$`,
		`^  max\.message\.bytes=1048588 sensitive=false synonyms=\{DEFAULT_CONFIG:message\.max\.bytes=1048588\}$`, `^  segment\.bytes=2000000 `)
	c.prints(c.refused(configsTool, append(of, "--alter", "--add-config", "no.such.thing=1")...), `Unknown topic config name: no\.such\.thing`)
}

// brokerConfigs: those of the broker, all of them, and one that is altered.
func (c *tools) brokerConfigs() {
	of := []string{"--entity-type", "brokers", "--entity-name", "1"}
	c.prints(c.run(configsTool, append(of, "--alter", "--add-config", "log.cleaner.delete.retention.ms=7200000")...), `^Completed updating config for broker 1\.$`)
	out := c.run(configsTool, append(of, "--describe", "--all")...)
	c.prints(out, `^All configs for broker 1 are:$`,
		`^  log\.cleaner\.delete\.retention\.ms=7200000 sensitive=false synonyms=\{DYNAMIC_BROKER_CONFIG:log\.cleaner\.delete\.retention\.ms=7200000, `+
			`DEFAULT_CONFIG:log\.cleaner\.delete\.retention\.ms=86400000\}$`,
		`^  message\.max\.bytes=1048588 sensitive=false synonyms=\{DEFAULT_CONFIG:message\.max\.bytes=1048588\}$`,
		`^  listeners=PLAINTEXT://`+regexp.QuoteMeta(c.b.addr())+`\S* sensitive=false synonyms=\{STATIC_BROKER_CONFIG:listeners=`,
		`^  ssl\.keystore\.password=null sensitive=true `)
	if n := len(linesOf(out)); n < 300 {
		c.t.Errorf("it prints %d lines, which are not all configs:\n%s", n, out)
	}
	c.run(configsTool, append(of, "--alter", "--delete-config", "log.cleaner.delete.retention.ms")...)
	c.lacking(c.run(configsTool, "--entity-type", "brokers", "--describe"), `log\.cleaner\.delete\.retention\.ms`)
}

// apiVersions: all that the broker serves is told, and usable.
func (c *tools) apiVersions() {
	out := c.run(versionsTool)
	c.prints(out, "^"+regexp.QuoteMeta(c.b.addr())+` \(id: 1 rack: null isFenced: false\) -> \($`)
	served, err := kmsg.NewPtrApiVersionsRequest().RequestWith(within(c.t), c.cl)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, key := range served.ApiKeys {
		versions := fmt.Sprintf("%d to %d", key.MinVersion, key.MaxVersion)
		if key.MinVersion == key.MaxVersion {
			versions = strconv.Itoa(int(key.MinVersion))
		}
		c.prints(out, fmt.Sprintf(`^\t\w+\(%d\): (%s \[usable: \d+\],?|UNSUPPORTED,?)$`, key.ApiKey, versions))
	}
	for _, key := range []string{"Produce", "Fetch", "Metadata", "JoinGroup", "CreateTopics", "DescribeConfigs", "OffsetDelete", "DescribeCluster"} {
		c.prints(out, `^\t`+key+`\(\d+\): .*\[usable: \d+\],?$`)
	}
}

// cluster: the cluster's id, and where its broker is.
func (c *tools) cluster() {
	metadata, err := c.adm.BrokerMetadata(within(c.t))
	if err != nil {
		c.t.Fatal(err)
	}
	c.prints(c.run(clusterTool, "cluster-id"), "^Cluster ID: "+regexp.QuoteMeta(metadata.Cluster)+"$")
	host, port, _ := strings.Cut(c.b.addr(), ":")
	c.prints(c.run(clusterTool, "list-endpoints"), `^1 +`+regexp.QuoteMeta(host)+` +`+port+` +null +unfenced +broker +$`)
}

// features: what ApiVersions tells of them, a line each.
func (c *tools) features() {
	out, err := c.attempt("", featuresTool, "--bootstrap-server", c.b.addr(), "describe") // in this order
	if err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.b.addr())) // the newest version: older ones are not told of all features
	if err != nil {
		c.t.Fatal(err)
	}
	defer cl.Close()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "judge", "1"
	told, err := req.RequestWith(within(c.t), cl)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range told.SupportedFeatures {
		c.prints(out, `^Feature: `+regexp.QuoteMeta(f.Name)+`\s+SupportedMinVersion: \S+\s+SupportedMaxVersion: \S+\s+FinalizedVersionLevel: \S+\s+Epoch: \d+$`)
	}
	if got, want := len(linesOf(out)), len(told.SupportedFeatures); got != want {
		c.t.Errorf("it tells of %d features, want %d:\n%s", got, want, out)
	}
}
