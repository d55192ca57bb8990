package console

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"segue/internal/coordinator"
	"segue/internal/coordinator/group"
)

// GroupStats tells of consumer groups.
type GroupStats struct {
	Coordinator coordinator.Stats
	Offsets     group.Stats
	Rebalances  int64 // that were begun, of all time
	group.Counts
	// Unknown is how many shards could not tell what they hold; the figures are without them.
	Unknown int
	// Lags are of each committed offset, or with partition -1 sums over all of a group's.
	Lags []GroupLag
	// LeftOut is how many committed offsets have no place in Lags, not even in a sum.
	LeftOut int
}

// GroupLag is how far a group is behind.
type GroupLag struct {
	Group, Topic string
	Partition    int32 // -1 where it is the sum of all topics and partitions
	Committed    int64 // the offset, where it is not a sum
	Lag          int64 // records between it and the high watermark
}

type groupMetrics struct {
	groups, members, offsets       metric
	committed, refused, rebalances metric
	coordinator                    coordinatorMetrics

	committedOffset, lag, groupLag, leftOut metric
}

func newGroupMetrics() groupMetrics {
	return groupMetrics{
		groups:     gauge("groups", "Consumer groups, by state.", "state"),
		members:    gauge("group_members", "Members of all groups."),
		offsets:    gauge("group_offsets", "Committed offsets that are kept."),
		committed:  counter("group_offsets_committed_total", "Offsets committed."),
		refused:    counter("group_offsets_refused_total", "Offsets whose commit was refused or did not succeed."),
		rebalances: counter("group_rebalances_total", "Rebalances of groups that were begun."),

		coordinator: newCoordinatorMetrics("group_coordinator", "__consumer_offsets"),

		committedOffset: gauge("group_committed_offset", "Committed offset.", "group", "topic", "partition"),
		lag:             gauge("group_lag", "Records between the committed offset and the high watermark.", "group", "topic", "partition"),
		groupLag:        gauge("group_total_lag", "The lag of all that the group has committed, where there are more committed offsets than metrics.group.lag.max.series.", "group"),
		leftOut:         gauge("group_lag_left_out", "Committed offsets whose lag is shown nowhere, because there are more than metrics.group.lag.max.series."),
	}
}

func (m *groupMetrics) put(s scrape, st GroupStats) {
	for state, n := range st.Groups {
		s.put(m.groups, float64(n), group.State(state).String())
	}
	m.coordinator.put(s, st.Coordinator, st.Unknown)
	for _, v := range []struct {
		metric metric
		value  float64
	}{
		{m.members, float64(st.Members)}, {m.offsets, float64(st.Counts.Offsets)},
		{m.committed, float64(st.Offsets.Committed)}, {m.refused, float64(st.Offsets.Refused)},
		{m.rebalances, float64(st.Rebalances)}, {m.leftOut, float64(st.LeftOut)},
	} {
		s.put(v.metric, v.value)
	}
	for _, l := range st.Lags {
		l.Group = label(l.Group)
		if l.Partition < 0 {
			s.put(m.groupLag, float64(l.Lag), l.Group)
			continue
		}
		number := strconv.Itoa(int(l.Partition))
		s.put(m.committedOffset, float64(l.Committed), l.Group, l.Topic, number)
		s.put(m.lag, float64(l.Lag), l.Group, l.Topic, number)
	}
}

// label returns an id as the value of a label, which must be UTF-8: what is not is quoted as Go does, and so is what
// could be taken for quoted.
func label(id string) string {
	if utf8.ValidString(id) && !strings.HasPrefix(id, `"`) {
		return id
	}
	return strconv.Quote(id)
}
