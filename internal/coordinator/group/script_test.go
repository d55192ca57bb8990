package group

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// TestScripts runs testdata/*.txt: commands, and after each what it leads to. -rewrite writes down what they lead to now.
//
// Each request has a number: "#3 join: …" answers the third one, whenever that may be, and "#3 waits" says that it was
// not answered by its own command. "+ …" is a record, "~ …" the beginning of a rebalance and its reason, "next in …" when
// the machine wants to be called. Commands have defaults: group=g, the newest version, and for join session=10s
// rebalance=60s type=consumer protocols=(range:t) client=c.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{}
		s.world = newWorld(t, testOptions())
		datadriven.RunTest(t, path, s.run)
	})
}

// script runs the commands of one file.
type script struct {
	*world
	d *datadriven.TestData
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	s.t, s.d = t, d
	var out lines
	switch d.Cmd {
	case "new":
		s.fresh()
	case "tick":
		d, err := time.ParseDuration(d.CmdArgs[0].Key)
		must(err)
		s.advance(d, func(fx coordinator.Effects) { s.showAt(&out, fx) })
	case "reload":
		if len(s.waiting) > 0 {
			out.addf("lost: %d waiting", len(s.waiting))
		}
		out.showEffects(s.reload(d.HasArg("compacted")))
	case "lower":
		s.d.ScanArgs(t, "max-size", &s.opts.MaxSize)
	case "beat": // a member sends heartbeats for a while
		s.beat(&out)
	case "log":
		for _, e := range s.ref.log {
			out.showEntry(e)
		}
	case "end": // a producer's transaction
		s.decide(int64(s.number("producer", 1)), s.d.HasArg("commit"))
	default:
		token, fx := s.do(Input{Client: Client{ID: s.str("client", "c"), Host: s.str("host", "/h")}, Request: s.request()})
		out.showEffects(fx)
		if _, waits := s.waiting[token]; waits {
			out.addf("#%d waits", token)
		}
	}
	for _, r := range s.reasons {
		out.addf("~ %s", r)
	}
	s.reasons = nil
	if s.showsDeadline() {
		out.addf("next in %s", s.next.Sub(s.now))
	}
	if out.Len() == 0 {
		return "ok\n"
	}
	return out.String()
}

// showsDeadline says whether the command's next deadline is worth a line.
func (s *script) showsDeadline() bool {
	switch s.d.Cmd {
	case "join", "sync", "leave", "heartbeat", "reload", "expiry":
		return true
	}
	return false
}

func (s *script) showAt(out *lines, fx coordinator.Effects) {
	var l lines
	l.showEffects(fx)
	if l.Len() > 0 {
		out.addf("at %s:", since(s.now))
		out.WriteString(l.String())
	}
}

// beat lets time pass while members of a generation send heartbeats.
func (s *script) beat(out *lines) {
	for end := s.now.Add(s.duration("for", "1m")); s.now.Before(end); {
		s.advance(s.duration("every", "5s"), func(fx coordinator.Effects) { s.showAt(out, fx) })
		for _, id := range s.list("members") {
			r := kmsg.NewPtrHeartbeatRequest()
			r.Version, r.Group, r.MemberID, r.Generation = 4, s.str("group", "g"), id, int32(s.number("generation", 1))
			_, fx := s.do(Input{Request: r})
			if c := fx.Replies[len(fx.Replies)-1].Message.(*kmsg.HeartbeatResponse).ErrorCode; c != 0 && !s.d.HasArg("any") {
				out.addf("at %s: heartbeat of %s: %s", since(s.now), id, errorName(c))
			}
		}
	}
}

// fresh begins anew with other options.
func (s *script) fresh() {
	o := testOptions()
	s.d.MaybeScanArgs(s.t, "max-size", &o.MaxSize)
	maxRecord := o.MaxRecordBytes()
	s.d.MaybeScanArgs(s.t, "max-record", &maxRecord)
	o.MaxRecordBytes = func() int { return maxRecord }
	s.d.MaybeScanArgs(s.t, "max-metadata", &o.MaxOffsetMetadata)
	o.InitialRebalanceDelay = s.duration("delay", "0s")
	o.OffsetsRetention = s.duration("retention", "168h")
	o.OffsetsCheckInterval = s.duration("check", "10m")
	s.world = newWorld(s.t, o)
}

func (s *script) str(key, otherwise string) string {
	if a, ok := s.d.Arg(key); ok && len(a.Vals) > 0 {
		return a.Vals[0]
	}
	return otherwise
}

func (s *script) maybe(key string) *string {
	if a, ok := s.d.Arg(key); ok && len(a.Vals) > 0 {
		return &a.Vals[0]
	}
	return nil
}

func (s *script) list(key string, otherwise ...string) []string {
	if a, ok := s.d.Arg(key); ok {
		return a.Vals
	}
	return otherwise
}

func (s *script) number(key string, otherwise int) int {
	n, err := strconv.Atoi(s.str(key, strconv.Itoa(otherwise)))
	must(err)
	return n
}

func (s *script) duration(key, otherwise string) time.Duration {
	d, err := time.ParseDuration(s.str(key, otherwise))
	must(err)
	return d
}

func (s *script) millis32(key, otherwise string) int32 {
	return int32(s.duration(key, otherwise).Milliseconds())
}

// request builds the request of a command.
func (s *script) request() any {
	group := s.str("group", "g")
	switch s.d.Cmd {
	case "join":
		return s.joinRequest(group)
	case "sync":
		return s.syncRequest(group)
	case "heartbeat":
		r := kmsg.NewPtrHeartbeatRequest()
		r.Version, r.Group, r.MemberID = int16(s.number("v", 4)), group, s.str("member", "")
		r.Generation, r.InstanceID = int32(s.number("generation", 1)), s.maybe("instance")
		return r
	case "leave":
		return s.leaveRequest(group)
	case "commit":
		return s.commitRequest(group)
	case "txn-commit":
		return s.txnCommit(group)
	case "fetch":
		return s.fetchRequest(group)
	case "delete":
		return Delete{group}
	case "delete-offsets":
		r := DeleteOffsets{Group: group}
		for _, o := range s.list("partitions") {
			topic, p, _ := parseOffset(o)
			r.Topics = append(r.Topics, DeleteTopic{topic, []int32{p}})
		}
		return r
	case "describe":
		return Describe{group, int16(s.number("v", 6))}
	case "list":
		return List{States: s.list("states"), Types: s.list("types")}
	case "lags":
		return Lags{}
	case "topics-deleted":
		deleted := map[string][16]byte{}
		for _, n := range s.list("topics") {
			name, id, _ := strings.Cut(n, "#")
			deleted[name] = topicID(id)
		}
		return TopicsDeleted{Exists: func(topic string, id [16]byte) bool {
			gone, ok := deleted[topic]
			return !ok || id != gone && id != [16]byte{}
		}}
	case "count":
		return Count{}
	}
	s.d.Fatalf(s.t, "what is %s?", s.d.Cmd)
	return nil
}

func (s *script) joinRequest(group string) any {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.MemberID = int16(s.number("v", 9)), group, s.str("member", "")
	r.InstanceID, r.Reason = s.maybe("instance"), s.maybe("reason")
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = s.millis32("session", "10s"), s.millis32("rebalance", "60s")
	r.ProtocolType = s.str("type", consumerProtocol)
	for _, p := range s.list("protocols", "range:t") {
		name, metadata, _ := strings.Cut(p, ":")
		r.Protocols = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: metadataOf(metadata)})
	}
	return r
}

// metadataOf is the subscription to some topics, or after an exclamation mark any bytes.
func metadataOf(s string) []byte {
	if raw, ok := strings.CutPrefix(s, "!"); ok {
		return []byte(raw)
	}
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = strings.Split(s, "+")
	return m.AppendTo(nil)
}

func (s *script) syncRequest(group string) any {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Version, r.Group, r.MemberID = int16(s.number("v", 5)), group, s.str("member", "")
	r.Generation, r.InstanceID = int32(s.number("generation", 1)), s.maybe("instance")
	if r.Version >= 5 {
		r.ProtocolType, r.Protocol = pointer(s.str("type", consumerProtocol)), pointer(s.str("protocol", "range"))
	}
	for _, a := range s.list("assign") {
		member, assignment, _ := strings.Cut(a, ":")
		r.GroupAssignment = append(r.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
			MemberID: member, MemberAssignment: []byte(assignment),
		})
	}
	return r
}

func (s *script) leaveRequest(group string) any {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Version, r.Group = int16(s.number("v", 5)), group
	r.MemberID = s.str("member", "")
	for _, member := range s.list("members", r.MemberID) {
		id, instance, static := strings.Cut(member, "@")
		l := kmsg.LeaveGroupRequestMember{MemberID: id, Reason: s.maybe("reason")}
		if static {
			l.InstanceID = &instance
		}
		r.Members = append(r.Members, l)
	}
	return r
}

func (s *script) commitRequest(group string) any {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Version, r.Group, r.MemberID = int16(s.number("v", 10)), group, s.str("member", "")
	r.Generation, r.InstanceID = int32(s.number("generation", -1)), s.maybe("instance")
	if s.d.HasArg("retention") {
		r.RetentionTimeMillis = s.duration("retention", "").Milliseconds()
	}
	for _, o := range s.offsetsArg() {
		rp := kmsg.NewOffsetCommitRequestTopicPartition()
		rp.Partition, rp.Offset, rp.Metadata, rp.LeaderEpoch = o.partition, o.offset, s.maybe("metadata"), int32(s.number("epoch", -1))
		r.Topics = append(r.Topics, kmsg.OffsetCommitRequestTopic{
			Topic: o.topic, TopicID: o.topicID, Partitions: []kmsg.OffsetCommitRequestTopicPartition{rp},
		})
	}
	return r
}

func (s *script) txnCommit(group string) any {
	r := kmsg.NewPtrTxnOffsetCommitRequest()
	r.Version, r.Group, r.MemberID = int16(s.number("v", 5)), group, s.str("member", "")
	r.Generation, r.InstanceID = int32(s.number("generation", -1)), s.maybe("instance")
	r.ProducerID, r.ProducerEpoch = int64(s.number("producer", 1)), int16(s.number("producer-epoch", 0))
	c := TxnCommit{Request: r}
	for _, o := range s.offsetsArg() {
		rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		rp.Partition, rp.Offset, rp.Metadata, rp.LeaderEpoch = o.partition, o.offset, s.maybe("metadata"), int32(s.number("epoch", -1))
		r.Topics = append(r.Topics, kmsg.TxnOffsetCommitRequestTopic{
			Topic: o.topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{rp},
		})
		r.Topics[len(r.Topics)-1].TopicID = o.topicID
	}
	return c
}

// offsetArg is an offset that a script has committed.
type offsetArg struct {
	topic     string
	topicID   [16]byte
	partition int32
	offset    int64
}

func (s *script) offsetsArg() (offsets []offsetArg) {
	for _, arg := range s.list("offsets") {
		topic, p, offset := parseOffset(arg)
		name, id, _ := strings.Cut(topic, "#")
		offsets = append(offsets, offsetArg{name, topicID(id), p, offset})
	}
	return offsets
}

func (s *script) fetchRequest(group string) any {
	r := Fetch{Group: group, RequireStable: s.d.HasArg("stable")}
	for _, o := range s.list("partitions") {
		topic, p, _ := parseOffset(o)
		name, id, _ := strings.Cut(topic, "#")
		r.Topics = append(r.Topics, FetchTopic{name, topicID(id), []int32{p}})
	}
	return r
}

// parseOffset reads topic/partition=offset.
func parseOffset(s string) (topic string, partition int32, offset int64) {
	place, value, _ := strings.Cut(s, "=")
	topic, p, _ := strings.Cut(place, "/")
	n, err := strconv.Atoi(p)
	must(err)
	if value != "" {
		_, err = fmt.Sscan(value, &offset)
		must(err)
	}
	return topic, int32(n), offset
}

// topicID makes a topic id of a number: t#7 is the topic t with the id 7.
func topicID(s string) (id [16]byte) {
	if s != "" {
		n, err := strconv.Atoi(s)
		must(err)
		id[15] = byte(n)
	}
	return id
}
