//go:build integration && unix

package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestSources: settings come from a file, from the environment and from the command line, and the later of these wins.
func TestSources(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.properties")
	text := "# what a user may have\nnum.partitions = 2\nlog.retention.hours: 5\nauto.create.topics.enable=false\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name       string
		flags, env []string
		overrides  []string
		partitions int // of a topic that does not say; 0: it is not created
	}{
		{name: "defaults", partitions: 1},
		{name: "file", flags: []string{"--config", file}},
		{name: "environment over file", flags: []string{"--config", file},
			env: []string{"KAFKA_NUM_PARTITIONS=3", "KAFKA_AUTO_CREATE_TOPICS_ENABLE=true"}, partitions: 3},
		{name: "override over all", flags: []string{"--config", file}, env: []string{"KAFKA_NUM_PARTITIONS=3"},
			overrides: []string{"num.partitions=4", "auto.create.topics.enable=true"}, partitions: 4},
		{name: "file and override", flags: []string{"--config", file}, overrides: []string{"auto.create.topics.enable=true"}, partitions: 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBroker(t, test.overrides...)
			b.flags, b.env = test.flags, test.env
			b.launch()
			resp := ask[*kmsg.MetadataResponse](b.dial(t), metadataRequest(12, true, "t"))
			if n := len(resp.Topics[0].Partitions); n != test.partitions {
				t.Errorf("a new topic has %d partitions, want %d", n, test.partitions)
			}
		})
	}
}

// TestAdvertisedListeners: each listener hands its own address to its clients, and the log says which.
func TestAdvertisedListeners(t *testing.T) {
	inner, outer := freeAddr(t), freeAddr(t)
	b := newBroker(t,
		"listeners=INNER://"+inner+",OUTER://"+outer,
		"listener.security.protocol.map=INNER:PLAINTEXT,OUTER:PLAINTEXT",
		"inter.broker.listener.name=INNER",
		"advertised.listeners=INNER://"+inner+",OUTER://kafka.example.org:1234")
	b.launch()
	for listener, want := range map[string][2]string{"INNER": {inner, inner}, "OUTER": {outer, "kafka.example.org:1234"}} {
		b.addr = want[0]
		got := ask[*kmsg.MetadataResponse](b.dial(t), metadataRequest(12, false)).Brokers
		if len(got) != 1 || net.JoinHostPort(got[0].Host, fmt.Sprint(got[0].Port)) != want[1] {
			t.Errorf("%s: clients are told %+v, want %s", listener, got, want[1])
		}
		told := b.run.log.find(func(e entry) bool {
			return e.text("listener") == listener && e.text("clients_are_told") == want[1] && strings.HasPrefix(e.text("message"), "ready for clients")
		})
		if len(told) != 1 {
			t.Errorf("%s: the log does not tell of %s:\n%s", listener, want[1], b.run.log)
		}
	}
}

// TestTwoDirectories: partitions lie in all directories, and are found again whatever ended the broker.
func TestTwoDirectories(t *testing.T) {
	b := newBroker(t)
	first, second := b.dir, b.dir+"2"
	b.overrides = []string{"log.dirs=" + first + "," + second}
	b.launch()
	w := b.dial(t)
	const topics = 20
	for i := range topics {
		topic := fmt.Sprint("t", i)
		b.createTopic(t, topic, 1)
		w.produce(topic, 0, batchOf(t, topic))
	}
	for _, dir := range []string{first, second} {
		if folders, err := filepath.Glob(filepath.Join(dir, "t*-0")); err != nil || len(folders) < topics/4 {
			t.Errorf("%s has %d of %d partitions, %v", dir, len(folders), topics, err)
		}
	}
	for _, again := range []func(){func() { b.restart() }, func() { b.crash() }} {
		again()
		for i := range topics {
			topic := fmt.Sprint("t", i)
			if r := b.consumePartition(t, topic, 0); len(r) != 1 || string(r[0].Value) != topic {
				t.Errorf("%s: %d records", topic, len(r))
			}
		}
	}
}
