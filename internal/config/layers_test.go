package config

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// static makes layers of name=value settings.
func static(t *testing.T, settings ...string) *Layers {
	t.Helper()
	list, err := ReadOverrides(settings)
	if err != nil {
		t.Fatal(err)
	}
	l, _, err := New(list)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestDefaultsRun(t *testing.T) {
	l, warnings, err := New()
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v %v", warnings, err)
	}
	want := BrokerSettings{
		NodeID: 1, LogDirs: []string{"./data"}, HTTPListener: ":9644", Partitions: 1, ReplicationFactor: 1,
		AutoCreateTopics: true, DeleteTopics: true, RetentionCheckInterval: 5 * time.Minute, RecoveryThreads: 2,
		ProducerExpiry: 24 * time.Hour, MaxRequestBytes: 100 << 20,
		MaxConnectionsPerIP: math.MaxInt32, IdleTimeout: 10 * time.Minute, FetchMaxBytes: 55 << 20, FetchSessions: 1000,
		DescribeMaxParts: 2000,
		Groups: GroupSettings{
			MinSession: 6 * time.Second, MaxSession: 30 * time.Minute, MaxSize: math.MaxInt32,
			OffsetsRetention: 7 * 24 * time.Hour, OffsetsCheckInterval: 10 * time.Minute, MaxOffsetMetadata: 4096,
			LagSeries: 10_000,
		},
		Transactions:   TransactionSettings{MaxTimeout: 15 * time.Minute, Expiration: 7 * 24 * time.Hour, ExpireEvery: time.Hour},
		CleanerEnabled: true, CleanerThreads: 1, CleanerBackoff: 15 * time.Second,
		CleanerMemory: 128 << 20, CleanerBytesPerSecond: math.MaxFloat64,
	}
	if got := l.Broker(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	topic := l.Topic(nil)
	if topic != (TopicSettings{
		Delete: true, RetentionBytes: -1, Retention: 7 * 24 * time.Hour, SegmentBytes: 1 << 30,
		SegmentAge: 7 * 24 * time.Hour, IndexBytes: 10 << 20, IndexInterval: 4096, FlushMessages: 1,
		FlushInterval: time.Second, MaxMessageBytes: 1048588, TimestampBeforeMax: math.MaxInt64,
		TimestampAfterMax: time.Hour, Compression: CompressionProducer, GzipLevel: -1, LZ4Level: 9, ZstdLevel: 3,
		MinInSyncReplicas: 1, DeleteRetention: 24 * time.Hour, CompactionLag: math.MaxInt64, MinCleanableRatio: 0.5,
		FileDeleteDelay: time.Minute,
	}) {
		t.Errorf("topic %+v", topic)
	}
	listeners := l.Listeners()
	if len(listeners.Bound) != 1 || listeners.Bound[0] != (Listener{"PLAINTEXT", Plaintext, "", 9092}) ||
		!slices.Equal(listeners.Advertised, listeners.Bound) || listeners.InterBroker != "PLAINTEXT" {
		t.Errorf("listeners %+v", listeners)
	}
}

// What is meant as never must not become a time that is over: that would drop every offset of an idle group.
func TestLongOffsetsRetention(t *testing.T) {
	l := static(t, "offsets.retention.minutes=2147483647", "offsets.retention.check.interval.ms=9223372036854775807")
	const longest = time.Duration(math.MaxInt64)
	if g := l.Broker().Groups; g.OffsetsRetention != longest || g.OffsetsCheckInterval != longest {
		t.Errorf("retention %v, interval %v, want %v of both", g.OffsetsRetention, g.OffsetsCheckInterval, longest)
	}
}

func TestPrecedence(t *testing.T) {
	file := []Setting{{Name: "num.partitions", Value: "2", Place: "f"}, {Name: "broker.rack", Value: "a", Place: "f"},
		{Name: "num.partitions", Value: "3", Place: "f"}}
	env := []Setting{{Name: "num.partitions", Value: "4", Place: "e"}, {Name: "listeners", Value: "PLAINTEXT://:1", Place: "e", Weak: true}}
	override := []Setting{{Name: "num.partitions", Value: "5", Place: "o"}}
	for _, test := range []struct {
		lists [][]Setting
		want  int32
	}{
		{[][]Setting{file}, 3}, {[][]Setting{file, env}, 4}, {[][]Setting{file, env, override}, 5}, {nil, 1},
	} {
		l, _, err := New(test.lists...)
		if err != nil || l.Broker().Partitions != test.want {
			t.Errorf("%d lists: %v, want %d", len(test.lists), err, test.want)
		}
	}
	l, _, err := New(file, env)
	if err != nil || l.Broker().Rack != "a" || l.Listeners().Bound[0].Port != 1 {
		t.Errorf("%v %v", l.Listeners(), err)
	}
	l, _, err = New([]Setting{{Name: "listeners", Value: "PLAINTEXT://:2"}}, env)
	if err != nil || l.Listeners().Bound[0].Port != 2 {
		t.Errorf("a weak setting won: %v", err)
	}
}

func TestTopicResolution(t *testing.T) {
	day := 24 * time.Hour
	for _, test := range []struct {
		name      string
		static    []string
		cluster   map[string]string
		node      map[string]string
		overrides map[string]string
		want      func(TopicSettings) (got, want any)
	}{
		{"hours", []string{"log.retention.hours=24"}, nil, nil, nil,
			func(s TopicSettings) (any, any) { return s.Retention, day }},
		{"minutes over hours", []string{"log.retention.hours=24", "log.retention.minutes=2"}, nil, nil, nil,
			func(s TopicSettings) (any, any) { return s.Retention, 2 * time.Minute }},
		{"milliseconds over all", []string{"log.retention.hours=24", "log.retention.minutes=2", "log.retention.ms=3"}, nil, nil, nil,
			func(s TopicSettings) (any, any) { return s.Retention, 3 * time.Millisecond }},
		{"negative is for ever", []string{"log.retention.hours=-5"}, nil, nil, nil,
			func(s TopicSettings) (any, any) { return s.Retention, -time.Millisecond }},
		{"cluster over static, whatever the unit", []string{"log.retention.ms=3"}, map[string]string{"log.retention.hours": "24"}, nil, nil,
			func(s TopicSettings) (any, any) { return s.Retention, day }},
		{"node over cluster", nil, map[string]string{"log.retention.ms": "5"}, map[string]string{"log.retention.hours": "24"}, nil,
			func(s TopicSettings) (any, any) { return s.Retention, day }},
		{"topic over all", []string{"log.retention.ms=3"}, map[string]string{"log.retention.ms": "5"}, map[string]string{"log.retention.ms": "6"},
			map[string]string{"retention.ms": " 7 "},
			func(s TopicSettings) (any, any) { return s.Retention, 7 * time.Millisecond }},
		{"invalid ones are passed over", []string{"log.retention.ms=3"}, map[string]string{"log.retention.ms": "x"},
			map[string]string{"log.retention.ms": "0"}, map[string]string{"retention.ms": "-2", "no.such": "1"},
			func(s TopicSettings) (any, any) { return s.Retention, 3 * time.Millisecond }},
		{"roll hours", []string{"log.roll.hours=2", "log.roll.jitter.hours=1"}, nil, nil, nil,
			func(s TopicSettings) (any, any) {
				return [2]time.Duration{s.SegmentAge, s.SegmentJitter}, [2]time.Duration{2 * time.Hour, time.Hour}
			}},
		{"jitter within the age", []string{"log.roll.hours=1", "log.roll.jitter.hours=3"}, nil, nil, nil,
			func(s TopicSettings) (any, any) { return s.SegmentJitter, time.Hour }},
		{"compaction lag rolls", nil, nil, nil, map[string]string{"cleanup.policy": "compact", "max.compaction.lag.ms": "9"},
			func(s TopicSettings) (any, any) { return s.SegmentAge, 9 * time.Millisecond }},
		{"and only under compaction", nil, nil, nil, map[string]string{"max.compaction.lag.ms": "9"},
			func(s TopicSettings) (any, any) { return s.SegmentAge, 7 * day }},
		{"flush scheduler", []string{"log.flush.scheduler.interval.ms=70"}, nil, nil, nil,
			func(s TopicSettings) (any, any) { return s.FlushInterval, 70 * time.Millisecond }},
		{"flush interval", []string{"log.flush.scheduler.interval.ms=70", "log.flush.interval.ms=80"}, nil, nil, nil,
			func(s TopicSettings) (any, any) { return s.FlushInterval, 80 * time.Millisecond }},
		{"policies", nil, nil, nil, map[string]string{"cleanup.policy": "compact, delete"},
			func(s TopicSettings) (any, any) { return [2]bool{s.Compact, s.Delete}, [2]bool{true, true} }},
		{"no policy", nil, nil, nil, map[string]string{"cleanup.policy": ""},
			func(s TopicSettings) (any, any) { return [2]bool{s.Compact, s.Delete}, [2]bool{} }},
		{"small segments for tests", nil, nil, nil, map[string]string{"internal.segment.bytes": "300"},
			func(s TopicSettings) (any, any) { return s.SegmentBytes, int64(300) }},
		{"message size", []string{"message.max.bytes=77"}, nil, nil, nil,
			func(s TopicSettings) (any, any) { return s.MaxMessageBytes, int32(77) }},
		{"append time", []string{"log.message.timestamp.type=LogAppendTime"}, nil, nil, nil,
			func(s TopicSettings) (any, any) { return s.LogAppendTime, true }},
		{"compression", []string{"compression.type=zstd", "compression.zstd.level=-5"}, nil, nil, nil,
			func(s TopicSettings) (any, any) {
				return [2]any{s.Compression, s.ZstdLevel}, [2]any{CompressionZstd, -5}
			}},
	} {
		l := static(t, test.static...).WithDynamic(test.node, test.cluster)
		if got, want := test.want(l.Topic(test.overrides)); got != want {
			t.Errorf("%s: %v, want %v", test.name, got, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, test := range []struct{ setting, want string }{
		{"num.partitions=0", "--override: Invalid value 0 for configuration num.partitions: Value must be at least 1"},
		{"num.partitions=many", "Invalid value many for configuration num.partitions: Not a number of type INT"},
		{"log.cleanup.policy=shred", `"shred" is not one of: compact, delete`},
		{"auto.create.topics.enable=maybe", "Expected value to be either true or false"},
		{"log.roll.ms=0", "Invalid value 0 for configuration log.roll.ms: Value must be at least 1"},
		{"log.roll.jitter.ms=-1", "Invalid value -1 for configuration log.roll.jitter.ms"},
		{"log.retention.ms=0", "must be -1 for no limit, or at least 1"},
		{"log.retention.hours=0", "Invalid value 0 for configuration log.retention.hours"},
		{"log.cleaner.min.compaction.lag.ms=5|log.cleaner.max.compaction.lag.ms=4", "must not be more than"},
		{"max.connections.per.ip=0", "no client could connect"},
		{"queued.max.request.bytes=10", "must be at least socket.request.max.bytes"},
		{"node.id=1|broker.id=2", "both name this broker"},
		{"broker.id=-4", "broker.id: Invalid value -4"},
		{"process.roles=controller", "always a broker"},
		{"process.roles=", "must not be empty"},
		{"log.dirs=", "must not be empty"},
		{"log.dirs=/a,,/b", "must not have empty elements"},
		{"authorizer.class.name=org.Example", "nothing would be enforced"},
		{"create.topic.policy.class.name=org.Example", "nothing would be enforced"},
		{"remote.log.storage.system.enable=true", "leave it false"},
		{"config.providers=env", "write the values out"},
		{"listeners=PLAINTEXT://:9092,PLAINTEXT://:9093", "used twice"},
		{"listener.name.x.max.connections=-1", "Value must be at least 0"},
		{"http.listener=9644", "host:port"},
	} {
		list, err := ReadOverrides(strings.Split(test.setting, "|"))
		if err != nil {
			t.Fatal(err)
		}
		if l, _, err := New(list); err == nil || l != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.setting, err, test.want)
		}
	}
}

func TestNewNamesAllProblems(t *testing.T) {
	list, _ := ReadOverrides([]string{"num.partitions=0", "log.dirs=", "message.max.bytes=-1"})
	_, _, err := New(list)
	for _, name := range []string{"num.partitions", "log.dirs", "message.max.bytes"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not speak of %s", err, name)
		}
	}
	if _, ok := errors.AsType[*ValueError](err); !ok {
		t.Errorf("%v holds no ValueError", err)
	}
}

func TestWarnings(t *testing.T) {
	list, _ := ReadOverrides([]string{
		"num.io.threads=3", "num.partition=3", "zookeeper.connect=z:2181", "confluent.metrics.enable=true", "num.partitions=2",
		"listener.name.a.ssl.keystore.location=/x", "retention.ms=5",
	})
	_, warnings, err := New(list)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, w.Text)
	}
	want := []string{
		"--override: Unknown broker config name: confluent.metrics.enable",
		"--override: listener.name.a.ssl.keystore.location is accepted and has no effect on this broker",
		"--override: num.io.threads is accepted and has no effect on this broker",
		"--override: Unknown broker config name: num.partition (did you mean num.partitions?)",
		"--override: Unknown broker config name: retention.ms (did you mean log.retention.ms?)",
		"--override: zookeeper.connect was removed from Apache Kafka and is ignored: there is no ZooKeeper any more",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRemovedNamesAreUnknown(t *testing.T) {
	for name := range removedNames() {
		if _, known := Broker().Lookup(name); known {
			t.Errorf("%s is in the table", name)
		}
	}
}

func TestNodeID(t *testing.T) {
	for _, test := range []struct {
		settings []string
		want     int32
	}{{nil, 1}, {[]string{"node.id=7"}, 7}, {[]string{"broker.id=8"}, 8}, {[]string{"node.id=9", "broker.id= 9"}, 9}} {
		l := static(t, test.settings...)
		if l.Broker().NodeID != test.want || l.Value("broker.id").Int() != int64(test.want) {
			t.Errorf("%v: node %d, broker %v", test.settings, l.Broker().NodeID, l.Value("broker.id"))
		}
	}
}

func TestLogDirs(t *testing.T) {
	for settings, want := range map[string]string{
		"log.dir=/a": "/a", "log.dirs=/b,/c": "/b,/c", "log.dir=/a|log.dirs=/b": "/b", "log.dirs=/b,/b": "/b",
	} {
		if got := strings.Join(static(t, strings.Split(settings, "|")...).Broker().LogDirs, ","); got != want {
			t.Errorf("%s: %s, want %s", settings, got, want)
		}
	}
}

func TestValueOfUnknownName(t *testing.T) {
	if v := static(t).Value("no.such.name"); !v.Null() {
		t.Errorf("%v", v)
	}
}

func TestCheckTopic(t *testing.T) {
	l := static(t)
	for _, test := range []struct {
		overrides map[string]string
		want      string
	}{
		{nil, ""},
		{map[string]string{"retention.ms": "-1", "cleanup.policy": "compact,delete"}, ""},
		{map[string]string{"retention.ms": "-2"}, "Invalid value -2 for configuration retention.ms: Value must be at least -1"},
		{map[string]string{"retention.m": "1"}, "Unknown topic config name: retention.m (did you mean retention.ms?)"},
		{map[string]string{"remote.storage.enable": "true"}, "tiered storage is disabled"},
		{map[string]string{"remote.storage.enable": "false"}, ""},
		{map[string]string{"min.compaction.lag.ms": "2", "max.compaction.lag.ms": "1"}, "must not be more than"},
		{map[string]string{"segment.bytes": "1048575"}, "Value must be at least 1048576"},
		{map[string]string{"compression.type": "brotli"}, "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
	} {
		err := l.CheckTopic(test.overrides)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%v: %v, want %q", test.overrides, err, test.want)
		}
	}
	err := l.CheckTopic(map[string]string{"remote.storage.enable": "true"})
	if _, ok := errors.AsType[*UnsupportedError](err); !ok {
		t.Errorf("%T", err)
	}
}

func TestCheckBroker(t *testing.T) {
	for _, test := range []struct {
		name, value string
		perBroker   bool
		want        string
	}{
		{"log.retention.ms", "5", false, ""},
		{"log.retention.ms", "0", false, "at least 1"},
		{"log.retention.hours", "5", false, "read once"},
		{"message.max.bytes", "-1", true, "at least 0"},
		{"num.partitions", "5", true, "read once"},
		{"listeners", "PLAINTEXT://:1", true, "read once"},
		{"cordoned.log.dirs", "*", true, ""},
		{"cordoned.log.dirs", "*", false, "single broker"},
		{"log.roll.ms", "0", true, "Invalid value 0 for configuration log.roll.ms"},
		{"no.such.name", "", true, "Unknown broker config name"},
	} {
		err := CheckBroker(test.name, test.value, test.perBroker)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s=%s: %v, want %q", test.name, test.value, err, test.want)
		}
	}
}

func TestCheckAltered(t *testing.T) {
	l := static(t, "log.retention.hours=24").WithDynamic(
		map[string]string{"log.cleaner.max.compaction.lag.ms": "5", "num.partitions": "3"}, map[string]string{"log.retention.ms": "0"})
	for _, test := range []struct {
		name      string
		configs   map[string]string
		perBroker bool
		ok        bool
	}{
		{"another value", map[string]string{"log.retention.ms": "5"}, true, true},
		{"nothing", nil, true, true},
		{"a bad value", map[string]string{"log.retention.ms": "x"}, true, false},
		{"what is bad and stays as it is", map[string]string{"log.retention.ms": "0"}, false, true},
		{"the same for the one broker", map[string]string{"log.retention.ms": "0"}, true, false},
		{"read at the start, and stays as it is", map[string]string{"num.partitions": "3"}, true, true},
		{"read at the start, and is another", map[string]string{"num.partitions": "4"}, true, false},
		{"what nobody knows", map[string]string{"my.own": "1"}, false, true},
		{"of one broker, for all", map[string]string{"cordoned.log.dirs": "x"}, false, false},
		{"contradicts what is set for the one", map[string]string{"log.cleaner.min.compaction.lag.ms": "6"}, false, false},
		{"takes the place of what it would contradict", map[string]string{"log.cleaner.min.compaction.lag.ms": "6"}, true, true},
	} {
		if err := l.CheckAltered(test.configs, test.perBroker); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestLoggable(t *testing.T) {
	for _, test := range []struct {
		table             *Table
		name, value, want string
	}{
		{Topic(), "retention.ms", "5", "5"},
		{Topic(), "no.such", "5", "[hidden]"},
		{Broker(), "ssl.keystore.password", "secret", "[hidden]"},
		{Broker(), "listener.name.internal.ssl.keystore.password", "secret", "[hidden]"},
		{Broker(), "listener.name.internal.ssl.protocol", "TLSv1.3", "TLSv1.3"},
		{Topic(), "leader.replication.throttled.replicas", strings.Repeat("x", 1000), strings.Repeat("x", 256) + "..."},
	} {
		if got := Loggable(test.table, test.name, test.value); got != test.want {
			t.Errorf("%s is logged as %s", test.name, got)
		}
	}
}
