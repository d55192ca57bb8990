//go:build integration && unix

package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// set is a config to be set, kept a value to be taken back.
func set(name, value string) kadm.AlterConfig {
	return kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value}
}

func unset(name string) kadm.AlterConfig { return kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name} }

// alter alters configs of a topic, or of all brokers if the name is empty.
func (b *broker) alter(topic string, configs ...kadm.AlterConfig) {
	b.t.Helper()
	adm := b.admin(b.t)
	defer adm.Close()
	var resp kadm.AlterConfigsResponses
	var err error
	if topic == "" {
		resp, err = adm.AlterBrokerConfigs(within(b.t, patience), configs)
	} else {
		resp, err = adm.AlterTopicConfigs(within(b.t, patience), configs, topic)
	}
	if err == nil {
		err = resp[0].Err
	}
	if err != nil {
		b.t.Fatalf("alter %q: %v", topic, err)
	}
}

// append produces a batch and returns what is answered.
func (w *wire) append(topic string, batch record.Batch) kmsg.ProduceResponseTopicPartition {
	w.t.Helper()
	return ask[*kmsg.ProduceResponse](w, produceRequest(topic, 0, -1, batch)).Topics[0].Partitions[0]
}

// TestAlteredConfigsTakeEffect: what a client alters, for a topic or for all brokers, partitions go by at once, without a
// restart and after one, and no more when it is taken back.
func TestAlteredConfigsTakeEffect(t *testing.T) {
	b := start(t, checkOften)
	large := func() record.Batch { return batchOf(t, strings.Repeat("x", 3000)) }
	for _, test := range []struct {
		name, value, ofBroker string
		check                 func(w *wire, topic string) bool // whether it is in effect
	}{
		{"max.message.bytes", "2000", "message.max.bytes", func(w *wire, topic string) bool {
			return w.append(topic, large()).ErrorCode == kerr.MessageTooLarge.Code
		}},
		{"message.timestamp.type", "LogAppendTime", "log.message.timestamp.type", func(w *wire, topic string) bool {
			return w.append(topic, batchOf(t, "v")).LogAppendTime >= 0
		}},
		{"compression.type", "gzip", "compression.type", func(w *wire, topic string) bool {
			base := w.append(topic, large()).BaseOffset
			p := ask[*kmsg.FetchResponse](w, fetchRequest(12, 0, 1, wanted{topic: topic, offset: base})).Topics[0].Partitions[0]
			batch, _, err := record.Parse(p.RecordBatches)
			if err != nil {
				t.Fatal(err)
			}
			return batch.Codec() == record.Gzip
		}},
		{"cleanup.policy", "compact", "log.cleanup.policy", func(w *wire, topic string) bool {
			return w.append(topic, batchOf(t, "without a key")).ErrorCode == kerr.InvalidRecord.Code
		}},
		{"message.timestamp.after.max.ms", "60000", "log.message.timestamp.after.max.ms", func(w *wire, topic string) bool {
			late := record.NewBuilder(0)
			late.Add(time.Now().Add(10*time.Minute).UnixMilli(), nil, []byte("v"))
			return w.append(topic, build1(t, late)).ErrorCode == kerr.InvalidTimestamp.Code
		}},
	} {
		for _, level := range []string{"topic", "brokers"} {
			t.Run(test.name+" of "+level, func(t *testing.T) {
				topic := strings.ReplaceAll(test.name, ".", "-") + "-" + level
				b.createTopic(t, topic, 1)
				resource, name := topic, test.name
				if level == "brokers" {
					resource, name = "", test.ofBroker
				}
				expect := func(when string, want bool) {
					t.Helper()
					if got := test.check(b.dial(t), topic); got != want {
						t.Errorf("%s: in effect is %v, want %v", when, got, want)
					}
				}
				expect("before", false)
				b.alter(resource, set(name, test.value))
				expect("altered", true)
				b.crash()
				expect("after a kill", true)
				b.alter(resource, unset(name))
				expect("taken back", false)
			})
		}
	}
}

// TestAlteredRetention: a topic that gets a limit, of its own or from the broker, shrinks to it.
func TestAlteredRetention(t *testing.T) {
	b := start(t, checkOften)
	w := b.dial(t)
	for _, topic := range []string{"own", "broker"} {
		b.createTopic(t, topic, 1, "segment.bytes", "1048576")
		fill(t, w, topic, 500, time.Now())
		if first, _ := b.offsets(t, topic, 0); first != 0 {
			t.Fatalf("%s begins at %d", topic, first)
		}
	}
	shrinks := func(topic string) {
		t.Helper()
		eventually(t, patience, topic+" has shrunk", func() bool {
			first, end := b.offsets(t, topic, 0)
			return first > 0 && end == 500
		})
	}
	b.alter("own", set("retention.bytes", "1048576"))
	shrinks("own")
	if first, _ := b.offsets(t, "broker", 0); first != 0 {
		t.Errorf("the other topic begins at %d", first)
	}
	b.alter("", set("log.retention.bytes", "1048576"))
	shrinks("broker")
	b.alter("own", set("retention.ms", "1000"))
	eventually(t, patience, "own is empty", func() bool { return b.dataSize("own") == 0 })
}

// TestAlteredSegments: a smaller segment size has the next append begin another segment.
func TestAlteredSegments(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	w := b.dial(t)
	fill(t, w, "t", 200, time.Now())
	if n := len(b.segments(t, "t", 0)); n != 1 {
		t.Fatalf("%d segments", n)
	}
	b.alter("t", set("segment.bytes", "1048576"))
	fill(t, w, "t", 1, time.Now())
	if n := len(b.segments(t, "t", 0)); n != 2 {
		t.Errorf("%d segments, want 2", n)
	}
}

// TestAlterThroughState: the older request, which names all that is to be set, and what is told of it.
func TestAlterThroughState(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1, "retention.ms", "5000", "segment.ms", "6000")
	adm := b.admin(t)
	resp, err := adm.AlterTopicConfigsState(within(t, patience), []kadm.AlterConfig{set("retention.ms", "7000")}, "t")
	if err != nil || resp[0].Err != nil {
		t.Fatal(err, resp)
	}
	if _, err := adm.ValidateAlterTopicConfigs(within(t, patience), []kadm.AlterConfig{set("retention.ms", "9")}, "t"); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		configs, err := adm.DescribeTopicConfigs(within(t, patience), "t")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range configs[0].Configs {
			switch dynamic := c.Source == kmsg.ConfigSourceDynamicTopicConfig; {
			case c.Key == "retention.ms" && (c.MaybeValue() != "7000" || !dynamic):
				t.Errorf("retention.ms is %s from %v", c.MaybeValue(), c.Source)
			case c.Key != "retention.ms" && dynamic:
				t.Errorf("%s is %s from the topic", c.Key, c.MaybeValue())
			}
		}
	}
	check()
	b.crash()
	check()
}

// TestTopicsGrow: new partitions take records when the answer is there, producers find them, and they are there after a
// kill.
func TestTopicsGrow(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 2)
	adm, w := b.admin(t), b.dial(t)
	cl := b.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	produce(t, cl, &kgo.Record{Topic: "t", Partition: 1, Value: []byte("old")})
	consumer := b.client(t, kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMaxAge(100*time.Millisecond))
	if r := poll(t, consumer, 1)[0]; string(r.Value) != "old" {
		t.Errorf("consumed %q", r.Value)
	}
	resp, err := adm.CreatePartitions(within(t, patience), 3, "t")
	if err != nil || resp["t"].Err != nil {
		t.Fatal(err, resp)
	}
	for i := range int32(3) {
		if base := w.produce("t", 2+i, batchOf(t, fmt.Sprint("new", i))); base != 0 {
			t.Errorf("the first record of partition %d is at %d", 2+i, base)
		}
	}
	if n := len(poll(t, consumer, 3)); n != 3 {
		t.Errorf("%d records of the new partitions", n)
	}
	b.crash()
	if n := len(b.consume(t, "t", 4)); n != 4 {
		t.Errorf("%d records after a kill", n)
	}
	if resp, err = adm.UpdatePartitions(within(t, patience), 3, "t"); err != nil || resp["t"].Err != kerr.InvalidPartitions {
		t.Errorf("fewer partitions: %v %v", err, resp)
	}
}

// TestDescribeLogDirs: what is told of a directory is what lies in it.
func TestDescribeLogDirs(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 2)
	fill(t, b.dial(t), "t", 50, time.Now())
	check := func() {
		t.Helper()
		all, err := b.admin(t).DescribeAllLogDirs(within(t, patience), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, dirs := range all {
			dir, ok := dirs[b.dir]
			if !ok || dir.Err != nil || len(dirs) != 1 {
				t.Fatalf("%+v", dirs)
			}
			if p, ok := dir.Topics.Lookup("t", 0); !ok || p.Size != b.dataSize("t") || p.Size == 0 || p.OffsetLag != 0 {
				t.Errorf("%+v, its files have %d bytes", p, b.dataSize("t"))
			}
			if p, ok := dir.Topics.Lookup("t", 1); !ok || p.Size != 0 {
				t.Errorf("an empty partition: %+v", p)
			}
		}
	}
	check()
	b.restart()
	check()
}

// TestDeleteRecords: what a client has deleted is gone, and stays so whatever ends the broker.
func TestDeleteRecords(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	fill(t, b.dial(t), "t", 50, time.Now())
	offsets := kadm.Offsets{}
	offsets.AddOffset("t", 0, 20, -1)
	resp, err := b.admin(t).DeleteRecords(within(t, patience), offsets)
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := resp.Lookup("t", 0); r.Err != nil || r.LowWatermark != 20 {
		t.Errorf("%+v", r)
	}
	b.crash()
	if first, end := b.offsets(t, "t", 0); first != 20 || end != 50 {
		t.Errorf("the log has offsets %d to %d, want 20 to 50", first, end)
	}
	if records := b.consumePartition(t, "t", 0); records[0].Offset != 20 {
		t.Errorf("the first record is at %d", records[0].Offset)
	}
}

// TestAlteredToCompacted: a topic that becomes a compacted one while it is used is compacted, what was written before and
// all; and one that is no more is not.
func TestAlteredToCompacted(t *testing.T) {
	b := start(t, compactOften, checkOften)
	b.createTopic(t, "t", 1, compacted...)
	b.alter("t", set("cleanup.policy", "delete"), set("compression.type", "uncompressed"))
	r := seeded(t)
	want, written := map[string]string{}, 8000
	b.lastValues(t, "t", r, written, want)
	runs := func() float64 { return b.metric(`segue_log_cleaner_runs_total{dir="` + b.dir + `"}`) }
	if n := len(b.consumePartition(t, "t", 0)); n != written || runs() != 0 {
		t.Fatalf("%d records of %d, %v compactions, before it is a compacted topic", n, written, runs())
	}
	b.alter("t", set("cleanup.policy", "compact"))
	b.lastValues(t, "t", r, 10, want)
	eventually(t, patience, "the log is compacted", func() bool { return runs() > 0 && len(b.consumePartition(t, "t", 0)) < written/2 })
	b.checkLastValues(t, "t", want)
	b.alter("t", set("cleanup.policy", "delete"), set("retention.ms", "1000"))
	eventually(t, patience, "the log is empty", func() bool { return b.dataSize("t") == 0 })
}
