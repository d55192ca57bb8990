package group

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// lines are what a script shows.
type lines struct{ strings.Builder }

func (l *lines) addf(format string, args ...any) {
	fmt.Fprintf(l, format, args...)
	l.WriteByte('\n')
}

// since shows a time as what has passed since the test began.
func since(t time.Time) string { return t.Sub(start).String() }

func sinceMillis(ms int64) string {
	if ms == noTime {
		return "never"
	}
	return since(time.UnixMilli(ms))
}

func errorName(c int16) string {
	var e *kerr.Error
	if errors.As(kerr.ErrorForCode(c), &e) {
		return e.Message
	}
	return "ok"
}

// bytesOf shows what consumers say and are assigned: readable as it is in tests, but for the frame of a subscription.
func bytesOf(b []byte) string {
	if topics, ok := consumerTopics(b); ok {
		return "<" + strings.Join(topics, "+") + ">"
	}
	return string(b)
}

func instanceOf(s *string) string {
	if s == nil {
		return ""
	}
	return " instance=" + *s
}

func orNull(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// showReply shows a reply in one line, or some.
func (l *lines) showReply(r coordinator.Reply) {
	head := fmt.Sprintf("#%d", r.To)
	switch m := r.Message.(type) {
	case *kmsg.JoinGroupResponse:
		l.showJoin(head, m)
	case *kmsg.SyncGroupResponse:
		if m.ErrorCode != 0 {
			l.addf("%s sync: %s", head, errorName(m.ErrorCode))
			return
		}
		l.addf("%s sync: %s/%s assignment=%q", head, *m.ProtocolType, *m.Protocol, bytesOf(m.MemberAssignment))
	case *kmsg.HeartbeatResponse:
		l.addf("%s heartbeat: %s", head, errorName(m.ErrorCode))
	case *kmsg.LeaveGroupResponse:
		l.addf("%s leave: %s", head, errorName(m.ErrorCode))
		for _, mb := range m.Members {
			l.addf("   %q%s: %s", mb.MemberID, instanceOf(mb.InstanceID), errorName(mb.ErrorCode))
		}
	case *kmsg.OffsetCommitResponse:
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				l.addf("%s commit %s/%d: %s", head, t.Topic, p.Partition, errorName(p.ErrorCode))
			}
		}
	case *kmsg.TxnOffsetCommitResponse:
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				l.addf("%s txn-commit %s/%d: %s", head, t.Topic, p.Partition, errorName(p.ErrorCode))
			}
		}
	case *kmsg.OffsetFetchResponseGroup:
		l.showFetched(head, m)
	default:
		l.showAdmin(head, r.Message)
	}
}

func (l *lines) showJoin(head string, m *kmsg.JoinGroupResponse) {
	if m.ErrorCode != 0 {
		l.addf("%s join: %s member=%q", head, errorName(m.ErrorCode), m.MemberID)
		return
	}
	skip := ""
	if m.SkipAssignment {
		skip = " skip-assignment"
	}
	l.addf("%s join: generation=%d %s/%s leader=%s member=%s%s", head, m.Generation, orNull(m.ProtocolType), orNull(m.Protocol), m.LeaderID, m.MemberID, skip)
	for _, mb := range m.Members {
		l.addf("   %s%s %s", mb.MemberID, instanceOf(mb.InstanceID), bytesOf(mb.ProtocolMetadata))
	}
}

func (l *lines) showFetched(head string, m *kmsg.OffsetFetchResponseGroup) {
	l.addf("%s fetch: %s, topics: %d", head, errorName(m.ErrorCode), len(m.Topics))
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			l.addf("   %s/%d=%d epoch=%d metadata=%q %s", t.Topic, p.Partition, p.Offset, p.LeaderEpoch, orNull(p.Metadata), errorName(p.ErrorCode))
		}
	}
}

func (l *lines) showAdmin(head string, message any) {
	switch m := message.(type) {
	case *kmsg.DescribeGroupsResponseGroup:
		l.addf("%s describe: %s %s type=%q protocol=%q", head, errorName(m.ErrorCode), m.State, m.ProtocolType, m.Protocol)
		if m.ErrorMessage != nil {
			l.addf("   %s", *m.ErrorMessage)
		}
		for _, mb := range m.Members {
			l.addf("   %s%s client=%s host=%s metadata=%q assignment=%q", mb.MemberID, instanceOf(mb.InstanceID),
				mb.ClientID, mb.ClientHost, bytesOf(mb.ProtocolMetadata), bytesOf(mb.MemberAssignment))
		}
	case []kmsg.ListGroupsResponseGroup:
		l.addf("%s list: %d", head, len(m))
		for _, g := range m {
			l.addf("   %s %s %s type=%q", g.Group, g.GroupType, g.GroupState, g.ProtocolType)
		}
	case *kmsg.DeleteGroupsResponseGroup:
		l.addf("%s delete %s: %s", head, m.Group, errorName(m.ErrorCode))
	case *kmsg.OffsetDeleteResponse:
		l.addf("%s delete-offsets: %s", head, errorName(m.ErrorCode))
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				l.addf("   %s/%d: %s", t.Topic, p.Partition, errorName(p.ErrorCode))
			}
		}
	case Counts:
		l.addf("%s count: %d members, %d offsets", head, m.Members, m.Offsets)
		for state, n := range m.Groups {
			if n > 0 {
				l.addf("   %v: %d", State(state), n)
			}
		}
	case []GroupOffset:
		slices.SortFunc(m, func(a, b GroupOffset) int {
			return strings.Compare(fmt.Sprint(a.Group, a.Topic, a.Partition), fmt.Sprint(b.Group, b.Topic, b.Partition))
		})
		l.addf("%s lags: %d", head, len(m))
		for _, o := range m {
			l.addf("   %s %s/%d=%d at %s", o.Group, o.Topic, o.Partition, o.Offset, sinceMillis(o.Committed))
		}
	default:
		l.addf("%s %T: %+v", head, m, m)
	}
}

// showRecord shows a record as kmsg reads it.
func (l *lines) showRecord(r coordinator.Record) {
	switch r.Key[1] {
	case offsetCommitRecord:
		k, v := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
		must(k.ReadFrom(r.Key))
		if r.Value == nil {
			l.addf("+ offset %s %s/%d is gone", k.Group, k.Topic, k.Partition)
			return
		}
		must(v.ReadFrom(r.Value))
		more := ""
		if v.Version == 1 {
			more = " until " + sinceMillis(v.ExpireTimestamp)
		}
		if v.TopicID != [16]byte{} {
			more += fmt.Sprintf(" id=%d", v.TopicID[15])
		}
		l.addf("+ offset %s %s/%d v%d=%d epoch=%d metadata=%q at %s%s", k.Group, k.Topic, k.Partition,
			v.Version, v.Offset, v.LeaderEpoch, v.Metadata, sinceMillis(v.CommitTimestamp), more)
	case groupMetadataType:
		k, v := kmsg.NewGroupMetadataKey(), kmsg.NewGroupMetadataValue()
		must(k.ReadFrom(r.Key))
		if r.Value == nil {
			l.addf("+ group %s is gone", k.Group)
			return
		}
		must(v.ReadFrom(r.Value))
		l.addf("+ group %s v%d type=%q generation=%d protocol=%s leader=%s since %s members=%d", k.Group, v.Version,
			v.ProtocolType, v.Generation, orNull(v.Protocol), orNull(v.Leader), sinceMillis(v.CurrentStateTimestamp), len(v.Members))
		for _, mb := range v.Members {
			l.addf("    %s%s %s%s session=%s rebalance=%s %s assignment=%q", mb.MemberID, instanceOf(mb.InstanceID), mb.ClientID, mb.ClientHost,
				millis32(mb.SessionTimeoutMillis), millis32(mb.RebalanceTimeoutMillis), bytesOf(mb.Subscription), mb.Assignment)
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// showEntry shows what stands at an offset of a log.
func (l *lines) showEntry(e entry) {
	switch {
	case e.marker && e.commit:
		l.addf("+ transaction of producer %d is committed", e.producer)
	case e.marker:
		l.addf("+ transaction of producer %d is aborted", e.producer)
	case e.producer != noProducer:
		l.addf("+ in the transaction of producer %d:", e.producer)
		fallthrough
	default:
		l.showRecord(e.rec)
	}
}

// showEffects shows what a command led to.
func (l *lines) showEffects(fx coordinator.Effects) {
	if p := fx.Producer; p != nil {
		l.addf("+ in the transaction of producer %d, epoch %d:", p.ID, p.Epoch)
	}
	for _, r := range fx.Records {
		l.showRecord(r)
	}
	for _, r := range fx.Replies {
		l.showReply(r)
	}
}
