//go:build integration && unix

package integration

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// TestIdleConnections: a connection on which nothing happens is closed after its time, one on which something is waited
// for is not.
func TestIdleConnections(t *testing.T) {
	b := start(t, "connections.max.idle.ms=300")
	b.createTopic(t, "t", 1)
	idle, silent, waiting := b.dial(t), b.dial(t), b.dial(t)
	idle.produce("t", 0, batchOf(t, "a"))
	waiting.send(fetchRequest(12, time.Second, 1<<20, wanted{topic: "t"}))
	took := elapsed(func() {
		idle.isClosed()
		silent.isClosed()
	})
	if took > prompt {
		t.Errorf("closed after %v, want 300 ms", took)
	}
	if n := countValues(t, answer[*kmsg.FetchResponse](waiting)); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
	waiting.isClosed()
}

// TestConnectionLimits: there are no more connections than are allowed, and when one goes another one may come.
func TestConnectionLimits(t *testing.T) {
	for _, setting := range []string{"max.connections", "max.connections.per.ip"} {
		t.Run(setting, func(t *testing.T) {
			b := start(t, setting+"=3")
			works := func(w *wire) bool {
				w.send(metadataRequest(12, false))
				_, err := w.tryReceive()
				return err == nil
			}
			first := b.dial(t)
			for _, w := range []*wire{first, b.dial(t), b.dial(t)} {
				if !works(w) {
					t.Fatal("a connection within the limit does not work")
				}
			}
			b.dial(t).isClosed()
			first.conn.Close()
			eventually(t, patience, "there is room for another", func() bool { return works(b.dial(t)) })
		})
	}
}

// TestTopicLimits: what a topic's configs say of records is kept, across a restart.
func TestTopicLimits(t *testing.T) {
	b := start(t)
	b.createTopic(t, "small", 1, "max.message.bytes", "1000")
	b.createTopic(t, "timely", 1, "message.timestamp.before.max.ms", "60000", "message.timestamp.after.max.ms", "60000")
	b.createTopic(t, "compacted", 1, "cleanup.policy", "compact")
	at := func(when time.Time) record.Batch {
		r := record.NewBuilder(0)
		r.Add(when.UnixMilli(), []byte("key"), []byte("value"))
		return build1(t, r)
	}
	flipped := batchOf(t, "flipped")
	flipped.Bytes()[len(flipped.Bytes())-1] ^= 1
	control := record.NewBuilder(0)
	control.Control, control.ProducerID, control.ProducerEpoch = true, 1, 0
	control.Add(epochMillis, []byte{0, 0, 0, 0}, nil)
	tests := []struct {
		name, topic string
		batch       record.Batch
		want        *kerr.Error
	}{
		{"a batch that fits", "small", batchOf(t, string(make([]byte, 900))), nil},
		{"a batch that is too large", "small", batchOf(t, string(make([]byte, 1000))), kerr.MessageTooLarge},
		{"a time that is good", "timely", at(time.Now()), nil},
		{"a time long ago", "timely", at(time.Now().Add(-time.Hour)), kerr.InvalidTimestamp},
		{"a time to come", "timely", at(time.Now().Add(time.Hour)), kerr.InvalidTimestamp},
		{"a record with a key", "compacted", at(time.Now()), nil},
		{"a record without a key", "compacted", batchOf(t, "x"), kerr.InvalidRecord},
		{"a batch with a wrong checksum", "small", flipped, kerr.CorruptMessage},
		{"a control batch", "small", build1(t, control), kerr.InvalidRecord},
	}
	for range 2 {
		w := b.dial(t)
		for _, test := range tests {
			p := ask[*kmsg.ProduceResponse](w, produceRequest(test.topic, 0, -1, test.batch)).Topics[0].Partitions[0]
			expectCode(t, test.name, p.ErrorCode, test.want)
		}
		for acks, want := range map[int16]*kerr.Error{2: kerr.InvalidRequiredAcks, math.MinInt16: kerr.InvalidRequiredAcks, 1: nil} {
			p := ask[*kmsg.ProduceResponse](w, produceRequest("small", 0, acks, batchOf(t, "x"))).Topics[0].Partitions[0]
			expectCode(t, fmt.Sprint("acks ", acks), p.ErrorCode, want)
		}
		b.restart()
	}
}

// TestAdmin: topics are made as they are asked for, described as they were made, and stay so.
func TestAdmin(t *testing.T) {
	b := start(t, "log.retention.ms=86400000")
	adm := b.admin(t)
	ctx := within(t, 2*patience)
	value := "12345678"
	if _, err := adm.CreateTopic(ctx, 5, -1, map[string]*string{"retention.bytes": &value}, "t"); err != nil {
		t.Fatal(err)
	}
	for name, attempt := range map[*kerr.Error]func() error{
		kerr.TopicAlreadyExists: func() error { _, err := adm.CreateTopic(ctx, 1, 1, nil, "t"); return err },
		kerr.InvalidPartitions:  func() error { _, err := adm.CreateTopic(ctx, 0, 1, nil, "u"); return err },
		kerr.InvalidReplicationFactor: func() error {
			_, err := adm.CreateTopic(ctx, 1, 2, nil, "u")
			return err
		},
		kerr.InvalidTopicException: func() error { _, err := adm.CreateTopic(ctx, 1, 1, nil, "a b"); return err },
		kerr.InvalidConfig: func() error {
			_, err := adm.CreateTopic(ctx, 1, 1, map[string]*string{"retention.byte": &value}, "u")
			return err
		},
		kerr.UnknownTopicOrPartition: func() error { _, err := adm.DeleteTopic(ctx, "u"); return err },
	} {
		if err := attempt(); !errors.Is(err, name) {
			t.Errorf("%v, want %v", err, name)
		}
	}
	check := func() {
		t.Helper()
		topics, err := adm.ListTopics(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if d := topics["t"]; len(topics) != 1 || len(d.Partitions) != 5 || d.Err != nil || d.Partitions.NumReplicas() != 1 {
			t.Errorf("topics: %+v", topics)
		}
		configs, err := adm.DescribeTopicConfigs(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]kadm.Config{}
		for _, c := range configs[0].Configs {
			seen[c.Key] = c
		}
		for key, want := range map[string]struct {
			value  string
			source kmsg.ConfigSource
		}{
			"retention.bytes": {value, kmsg.ConfigSourceDynamicTopicConfig},
			"retention.ms":    {"86400000", kmsg.ConfigSourceStaticBrokerConfig},
			"cleanup.policy":  {"delete", kmsg.ConfigSourceDefaultConfig},
			"flush.messages":  {"1", kmsg.ConfigSourceDefaultConfig},
		} {
			if c := seen[key]; c.MaybeValue() != want.value || c.Source != want.source {
				t.Errorf("%s is %q from %v, want %q from %v", key, c.MaybeValue(), c.Source, want.value, want.source)
			}
		}
		brokers, err := adm.DescribeBrokerConfigs(ctx, 1)
		if err != nil || len(brokers) != 1 || len(brokers[0].Configs) < 50 || brokers[0].Err != nil {
			t.Errorf("broker configs: %v, %v", brokers, err)
		}
	}
	check()
	cluster, err := adm.BrokerMetadata(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.crash()
	check()
	again, err := adm.BrokerMetadata(ctx)
	if err != nil || again.Cluster != cluster.Cluster || len(cluster.Cluster) != 22 || again.Controller != 1 {
		t.Errorf("the cluster was %s and is %s, controller %d, %v", cluster.Cluster, again.Cluster, again.Controller, err)
	}
}
