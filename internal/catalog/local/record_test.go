package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"segue/internal/catalog"
	"segue/storage/record"
)

func fixedID(n byte) [16]byte { return [16]byte{0: 0xc0, 6: 0x40, 8: 0x80, 15: n} }

// TestForms holds the records to the text that is on disks already. A line may be added; one that is there may never
// change.
func TestForms(t *testing.T) {
	for _, test := range []struct {
		change catalog.Change
		want   string
	}{
		{catalog.CreateTopic{Name: "orders", ID: fixedID(1), Partitions: 3, ReplicationFactor: 1},
			`{"type":"CreateTopic","version":1,"name":"orders","id":"wAAAAAAAQACAAAAAAAAAAQ","partitions":3,"replicationFactor":1}`},
		{catalog.CreateTopic{Name: "__x", ID: fixedID(2), Partitions: 1, ReplicationFactor: 1, Internal: true, Configs: map[string]string{"b": "2", "a": "<ü>"}},
			`{"type":"CreateTopic","version":1,"name":"__x","id":"wAAAAAAAQACAAAAAAAAAAg","partitions":1,"replicationFactor":1,"internal":true,"configs":{"a":"\u003cü\u003e","b":"2"}}`},
		{catalog.DeleteTopic{ID: fixedID(1)}, `{"type":"DeleteTopic","version":1,"id":"wAAAAAAAQACAAAAAAAAAAQ"}`},
		{catalog.PurgeTopic{ID: fixedID(1)}, `{"type":"PurgeTopic","version":1,"id":"wAAAAAAAQACAAAAAAAAAAQ"}`},
		{catalog.SetTopicConfigs{ID: fixedID(1), Configs: map[string]string{"a": ""}},
			`{"type":"SetTopicConfigs","version":1,"id":"wAAAAAAAQACAAAAAAAAAAQ","configs":{"a":""}}`},
		{catalog.SetTopicConfigs{ID: fixedID(1)}, `{"type":"SetTopicConfigs","version":1,"id":"wAAAAAAAQACAAAAAAAAAAQ","configs":null}`},
		{catalog.SetPartitions{ID: fixedID(1), Partitions: 9}, `{"type":"SetPartitions","version":1,"id":"wAAAAAAAQACAAAAAAAAAAQ","partitions":9}`},
		{catalog.SetBrokerConfigs{Broker: "1", Configs: map[string]string{"a": "b"}},
			`{"type":"SetBrokerConfigs","version":1,"broker":"1","configs":{"a":"b"}}`},
		{catalog.Start{ClusterID: "c"}, `{"type":"Start","version":1,"clusterId":"c"}`},
		{catalog.Surpass{LeaderEpoch: 7, ProducerID: 4000}, `{"type":"Surpass","version":1,"leaderEpoch":7,"producerId":4000}`},
		{catalog.ReserveProducerIDs{Count: 1000}, `{"type":"ReserveProducerIDs","version":1,"count":1000}`},
	} {
		text, err := encodeChange(test.change)
		if err != nil || string(text) != test.want {
			t.Errorf("%T: %s, %v, want %s", test.change, text, err, test.want)
		}
		back, err := decodeChange([]byte(test.want))
		if err != nil || !reflect.DeepEqual(back, test.change) {
			t.Errorf("%s: %+v, %v", test.want, back, err)
		}
	}
	if _, err := encodeChange(&catalog.Start{}); err == nil {
		t.Error("a pointer is taken for a change")
	}
}

func TestDecodeChangeRefuses(t *testing.T) {
	const id = "wAAAAAAAQACAAAAAAAAAAQ"
	for _, test := range []struct{ text, want string }{
		{``, "not a JSON object"},
		{`7`, "not a JSON object"},
		{`{`, "not a JSON object"},
		{`{}`, "no type"},
		{`{"type":"Start","version":2,"clusterId":"c","more":1}`, "has version 2, and this broker understands up to 1"},
		{`{"type":"Start"}`, "has version 0"},
		{`{"type":"Start","version":-1}`, "has version -1"},
		{`{"type":"GrantAccess","version":1}`, "does not know the type"},
		{`{"type":"Snapshot","version":1}`, "does not know the type"},
		{`{"type":"Start","version":1,"clusterId":"c","more":1}`, `unknown field "more"`},
		{`{"type":"Start","version":1,"clusterId":7}`, "cannot unmarshal"},
		{`{"type":"Start","version":1,"clusterId":"c"} {}`, "not a JSON object"},
		{`{"type":"DeleteTopic","version":1,"id":"x"}`, "22 characters"},
		{`{"type":"PurgeTopic","version":1}`, "22 characters"},
		{`{"type":"SetPartitions","version":1,"id":"` + id + `","partitions":2147483648}`, "cannot unmarshal"},
		{`{"type":"SetTopicConfigs","version":1,"id":"` + id + `","configs":["a"]}`, "cannot unmarshal"},
		{`{"type":"CreateTopic","version":1,"name":"a","id":"` + id + `!"}`, "22 characters"},
		{`{"type":"SetBrokerConfigs","version":1,"broker":"1","configs":{"a":null},"x":{}}`, "unknown field"},
		{`{"type":"ReserveProducerIDs","version":1,"count":1.5}`, "cannot unmarshal"},
	} {
		if c, err := decodeChange([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %+v, %v, want %q", test.text, c, err, test.want)
		}
	}
}

func TestBatchesAreBounded(t *testing.T) {
	part := make([]byte, maxBatchBytes/2)
	if _, err := buildBatch(0, [][]byte{part, part, {0}}); err == nil || !strings.Contains(err.Error(), "too much for one batch") {
		t.Errorf("%v", err)
	}
}

// batch makes a batch of values for the place at which a log has it.
func batch(t testing.TB, at record.Offset, values ...string) record.Batch {
	t.Helper()
	b := record.NewBuilder(at)
	for _, value := range values {
		b.Add(0, nil, []byte(value))
	}
	built, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return built
}

const (
	startText  = `{"type":"Start","version":1,"clusterId":"c"}`
	snapText   = `{"type":"Snapshot","version":1,"image":%d,"clusterId":"c","startCount":%d,"nextProducerId":0,"topics":%d,"deleting":%d,"brokerConfigs":%d}`
	topicText  = `{"type":"%s","version":1,"name":"a","id":"wAAAAAAAQACAAAAAAAAAAQ","partitions":1,"replicationFactor":1}`
	brokerText = `{"type":"SnapshotBrokerConfigs","version":1,"broker":"1","configs":{"a":"b"}}`
)

func TestReplayRefuses(t *testing.T) {
	topic, gone := fmt.Sprintf(topicText, typeSnapshotTopic), fmt.Sprintf(topicText, typeSnapshotDeletedTopic)
	snap := func(image, starts, topics, deleting, brokers int) string {
		return fmt.Sprintf(snapText, image, starts, topics, deleting, brokers)
	}
	for _, test := range []struct {
		name    string
		start   record.Offset
		batches []record.Batch
		want    string
	}{
		{"unknown type", 0, []record.Batch{batch(t, 0, startText), batch(t, 1, `{"type":"GrantAccess","version":1}`)}, "at offset 1: a record of type \"GrantAccess\": this broker does not know the type"},
		{"later version", 0, []record.Batch{batch(t, 0, `{"type":"Start","version":3}`)}, "at offset 0: a record of type \"Start\" has version 3"},
		{"impossible change", 0, []record.Batch{batch(t, 0, `{"type":"DeleteTopic","version":1,"id":"wAAAAAAAQACAAAAAAAAAAQ"}`)}, "at offset 0: delete topic: no topic has the id"},
		{"second record of a batch", 0, []record.Batch{batch(t, 0, startText, `{}`)}, "at offset 0: a record has no type"},
		{"a snapshot among changes", 0, []record.Batch{batch(t, 0, startText, snap(1, 1, 0, 0, 0))}, "at offset 0: a record of type \"Snapshot\""},
		{"a gap", 0, []record.Batch{batch(t, 0, startText), batch(t, 2, startText)}, "at offset 1: a batch begins at offset 2"},
		{"the beginning is missing", 5, []record.Batch{batch(t, 5, startText)}, "at offset 5: the log begins there, and not with a snapshot"},
		{"wrong checksum", 0, []record.Batch{damaged(batch(t, 0, startText))}, "at offset 0: "},
		{"another snapshot than the changes", 0, []record.Batch{batch(t, 0, startText), batch(t, 1, snap(2, 2, 0, 0, 0))}, "at offset 1: a snapshot of version 2 is not what"},
		{"snapshot counts too many", 5, []record.Batch{batch(t, 5, snap(9, 1, 2, 0, 0), topic)}, "counts 2 topics"},
		{"snapshot counts too few", 5, []record.Batch{batch(t, 5, snap(9, 1, 0, 0, 0), topic)}, "has 1 records"},
		{"snapshot counts below nothing", 5, []record.Batch{batch(t, 5, snap(9, 1, 2, -1, 0), topic)}, "counts 2 topics"},
		{"snapshot out of order", 5, []record.Batch{batch(t, 5, snap(9, 1, 1, 1, 0), gone, topic)}, "record 1 of a snapshot has type"},
		{"snapshot with a change", 5, []record.Batch{batch(t, 5, snap(9, 1, 1, 0, 0), startText)}, "record 1 of a snapshot has type \"Start\""},
		{"snapshot with configs twice", 5, []record.Batch{batch(t, 5, snap(9, 1, 0, 0, 2), brokerText, brokerText)}, "are there twice"},
		{"snapshot with a topic twice", 5, []record.Batch{batch(t, 5, snap(9, 1, 2, 0, 0), topic, topic)}, "exists"},
		{"snapshot of nothing", 5, []record.Batch{batch(t, 5, `{"type":"Snapshot","version":1,"image":-1}`)}, "an image cannot have version -1"},
	} {
		log := newMemLog()
		log.start, log.batches = test.start, test.batches
		log.committed = log.end()
		if s, err := Open(t.Context(), log, log.events, Options{}); err == nil || s != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if log.closed {
			t.Errorf("%s: the log is still the caller's", test.name)
		}
	}
}

// unreadable is a log that answers every read with one outcome.
type unreadable struct {
	*memLog
	chunk record.Chunk
	err   error
}

func (l unreadable) Read(context.Context, record.Offset, record.Offset, int, bool) (record.Chunk, error) {
	return l.chunk, l.err
}

func TestReplayOfAnUnreadableLog(t *testing.T) {
	broken := errors.New("input/output error")
	full := newMemLog()
	full.batches = []record.Batch{batch(t, 0, startText)}
	full.committed = 1
	for _, test := range []struct {
		log  unreadable
		want string
	}{
		{unreadable{full, record.Chunk{}, nil}, "at offset 0: there is nothing to read"},
		{unreadable{full, record.Chunk{}, broken}, "at offset 0: input/output error"},
		{unreadable{full, record.NewChunk(strings.NewReader("short"), 0, 9, nil, nil), nil}, "at offset 0: "},
		{unreadable{full, record.NewChunk(strings.NewReader("not a batch"), 0, 11, nil, nil), nil}, "at offset 0: "},
	} {
		if _, err := Open(t.Context(), test.log, full.events, Options{}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
}

func damaged(b record.Batch) record.Batch {
	b = record.Batch{Header: bytes.Clone(b.Bytes())}
	b.Bytes()[len(b.Bytes())-3] ^= 1
	return b
}

func TestReplayOfASnapshot(t *testing.T) {
	log := newMemLog()
	log.start = 5
	log.batches = []record.Batch{
		batch(t, 5, fmt.Sprintf(snapText, 9, 4, 1, 0, 1), fmt.Sprintf(topicText, typeSnapshotTopic), brokerText), batch(t, 8, startText),
	}
	log.committed = log.end()
	image, end, changes, err := replay(t.Context(), log, log.events)
	if err != nil || image.Version() != 10 || image.StartCount() != 5 || end != 9 || changes != 1 || image.BrokerConfigs("1")["a"] != "b" {
		t.Fatalf("%+v %d %d %v", image, end, changes, err)
	}
}

func TestOpenWaitsForTheLog(t *testing.T) {
	log := newMemLog()
	log.batches = []record.Batch{batch(t, 0, startText), batch(t, 1, startText)}
	log.committed = 1
	opened := make(chan *catalog.Image)
	go func() {
		s, err := Open(t.Context(), log, log.events, Options{})
		if err != nil {
			t.Error(err)
		}
		opened <- s.Image()
		s.Close()
	}()
	log.commit(2)
	if image := <-opened; image.Version() != 2 {
		t.Errorf("version %d", image.Version())
	}
	broken := errors.New("broken")
	log = newMemLog()
	log.batches = []record.Batch{batch(t, 0, startText)}
	log.events.Failed(broken)
	if _, err := Open(t.Context(), log, log.events, Options{}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// FuzzDecodeChange: no record makes the decoder panic, and what it takes is written and read again as the same.
func FuzzDecodeChange(f *testing.F) {
	for _, change := range []catalog.Change{
		catalog.CreateTopic{Name: "a", ID: fixedID(1), Partitions: 1, ReplicationFactor: 1, Configs: map[string]string{"a": "b"}},
		catalog.DeleteTopic{ID: fixedID(1)}, catalog.PurgeTopic{ID: fixedID(1)}, catalog.SetTopicConfigs{ID: fixedID(1)},
		catalog.SetPartitions{ID: fixedID(1), Partitions: 2}, catalog.SetBrokerConfigs{Broker: "1"}, catalog.Start{ClusterID: "c"},
		catalog.ReserveProducerIDs{Count: 1}, catalog.Surpass{LeaderEpoch: 1, ProducerID: -1},
	} {
		text, err := encodeChange(change)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"type":"Start","version":1,"clusterId":"\ud800"}`))
	f.Add([]byte(`{"type":"CreateTopic","version":1,"id":"wAAAAAAAQACAAAAAAAAAAQ","configs":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		change, err := decodeChange(text)
		if err != nil {
			return
		}
		again, err := encodeChange(change)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		back, err := decodeChange(again)
		if err != nil || !reflect.DeepEqual(back, change) {
			t.Fatalf("%s became %s, %v", text, again, err)
		}
	})
}

// FuzzReplayBatch: no batch of three records makes a replay panic, and what it leads to can be written as a snapshot
// and read again as the same.
func FuzzReplayBatch(f *testing.F) {
	f.Add([]byte(startText), []byte(startText), []byte(startText))
	f.Add([]byte(fmt.Sprintf(snapText, 9, 4, 1, 0, 1)), []byte(fmt.Sprintf(topicText, typeSnapshotTopic)), []byte(brokerText))
	f.Add([]byte(fmt.Sprintf(snapText, 9, 4, 1, 1, 0)), []byte(fmt.Sprintf(topicText, typeSnapshotTopic)), []byte(fmt.Sprintf(topicText, typeSnapshotDeletedTopic)))
	f.Add([]byte(startText), []byte(fmt.Sprintf(topicText, typeCreateTopic)), []byte(`{"type":"SetPartitions","version":1,"id":"wAAAAAAAQACAAAAAAAAAAQ","partitions":9}`))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		image, _, err := applyBatch(&catalog.Image{}, batch(t, 0, string(a), string(b), string(c)), true)
		if err != nil {
			return
		}
		snapshot, err := encodeSnapshot(0, image)
		if err != nil {
			t.Fatal(err)
		}
		again, isSnapshot, err := applyBatch(&catalog.Image{}, snapshot, true)
		if err != nil || !isSnapshot || !again.Equal(image) {
			t.Fatalf("%+v became %+v, %v", image, again, err)
		}
		if !json.Valid(firstValue(t, snapshot)) {
			t.Fatal("a record that is not JSON")
		}
	})
}

func firstValue(t *testing.T, b record.Batch) []byte {
	t.Helper()
	for r, err := range b.Records(nil) {
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(r.Value)
	}
	t.Fatal("an empty batch")
	return nil
}
