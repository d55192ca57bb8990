package broker

import (
	"context"
	"time"

	"segue/internal/console"
	"segue/internal/coordinator/group"
)

// lagPatience is how long a scrape waits for the shards, all of them together. They take their time while the disk is
// stuck, since what they tell is what is committed.
const lagPatience = 5 * time.Second

// stats returns the figures of groups, with the lags of so many committed offsets at the most. It asks one shard after
// the other, so that not all of them hold up their groups at the same time, nor their offsets are in memory twice.
func (g *groups) stats(most int) console.GroupStats {
	ctx, cancel := context.WithTimeout(context.Background(), lagPatience)
	defer cancel()
	st := console.GroupStats{Coordinator: g.runtime.Stats(), Offsets: g.coordinator.Stats(), Rebalances: g.rebalances.Load()}
	shards := g.runtime.Shards()
	var known []int32
	for _, shard := range shards {
		if m, err := g.runtime.Do(ctx, shard, group.Input{Request: group.Count{}}); err == nil {
			st.Add(m.(group.Counts))
			known = append(known, shard)
		}
	}
	l := lags{groups: g, each: st.Counts.Offsets <= most, most: most}
	for _, shard := range known {
		if most <= 0 {
			break
		}
		if m, err := g.runtime.Do(ctx, shard, group.Input{Request: group.Lags{}}); err == nil {
			l.add(m.([]group.GroupOffset))
		}
	}
	st.Unknown = len(shards) - len(known)
	st.Lags, st.LeftOut = l.list, l.leftOut
	if most <= 0 {
		st.LeftOut = st.Counts.Offsets
	}
	return st
}

// lags collects lags.
type lags struct {
	groups  *groups
	each    bool // of each offset, or else one for each group
	most    int
	list    []console.GroupLag
	leftOut int
}

// add adds the offsets of one shard, which holds groups whole.
func (l *lags) add(offsets []group.GroupOffset) {
	sums := make(map[string]int) // places in the list, by group
	for _, o := range offsets {
		lag, ok := l.groups.lag(o)
		if !ok {
			continue
		}
		at, there := sums[o.Group]
		switch {
		case there && !l.each:
			l.list[at].Lag += lag
		case len(l.list) >= l.most:
			l.leftOut++
		case l.each:
			l.list = append(l.list, console.GroupLag{Group: o.Group, Topic: o.Topic, Partition: o.Partition, Committed: o.Offset, Lag: lag})
		default:
			sums[o.Group] = len(l.list)
			l.list = append(l.list, console.GroupLag{Group: o.Group, Partition: -1, Lag: lag})
		}
	}
}

// lag returns how far a committed offset is behind the high watermark; false if that is not known.
func (g *groups) lag(o group.GroupOffset) (int64, bool) {
	topic, ok := g.catalog.Image().Topic(o.Topic)
	if !ok || o.TopicID != [16]byte{} && o.TopicID != topic.ID {
		return 0, false
	}
	p, err := g.partition(topic.ID, o.Partition)
	if err != nil {
		return 0, false
	}
	return max(0, int64(p.Offsets().HighWatermark)-o.Offset), true
}
