package console

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"segue/internal/coordinator"
	"segue/internal/coordinator/group"
)

func testGroups() GroupStats {
	st := GroupStats{
		Coordinator: coordinator.Stats{Serving: 49, Loading: 1, Loads: 50, LoadTime: 3 * time.Second},
		Offsets:     group.Stats{Committed: 7, Refused: 2}, Rebalances: 4,
		Counts:  group.Counts{Members: 3, Offsets: 2},
		Unknown: 1, LeftOut: 5,
		Lags: []GroupLag{
			{Group: "g", Topic: "t", Partition: 1, Committed: 10, Lag: 32},
			{Group: "sum", Partition: -1, Lag: 5},
			{Group: "odd \xff", Topic: "t", Partition: 0, Committed: 1, Lag: 0},
		},
	}
	st.Groups[group.Stable] = 2
	return st
}

func TestGroupMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newCollector(Sources{Groups: testGroups}))
	want := `
# HELP segue_group_committed_offset Committed offset.
# TYPE segue_group_committed_offset gauge
segue_group_committed_offset{group="\"odd \\xff\"",partition="0",topic="t"} 1
segue_group_committed_offset{group="g",partition="1",topic="t"} 10
# HELP segue_group_coordinator_load_seconds_total Time that loads took.
# TYPE segue_group_coordinator_load_seconds_total counter
segue_group_coordinator_load_seconds_total 3
# HELP segue_group_coordinator_shards Partitions of __consumer_offsets that the coordinator works with, by what it is at with them.
# TYPE segue_group_coordinator_shards gauge
segue_group_coordinator_shards{state="loading"} 1
segue_group_coordinator_shards{state="pausing"} 0
segue_group_coordinator_shards{state="serving"} 49
# HELP segue_group_lag Records between the committed offset and the high watermark.
# TYPE segue_group_lag gauge
segue_group_lag{group="\"odd \\xff\"",partition="0",topic="t"} 0
segue_group_lag{group="g",partition="1",topic="t"} 32
# HELP segue_group_lag_left_out Committed offsets whose lag is shown nowhere, because there are more than metrics.group.lag.max.series.
# TYPE segue_group_lag_left_out gauge
segue_group_lag_left_out 5
# HELP segue_group_total_lag The lag of all that the group has committed, where there are more committed offsets than metrics.group.lag.max.series.
# TYPE segue_group_total_lag gauge
segue_group_total_lag{group="sum"} 5
# HELP segue_group_offsets Committed offsets that are kept.
# TYPE segue_group_offsets gauge
segue_group_offsets 2
# HELP segue_group_offsets_committed_total Offsets committed.
# TYPE segue_group_offsets_committed_total counter
segue_group_offsets_committed_total 7
# HELP segue_groups Consumer groups, by state.
# TYPE segue_groups gauge
segue_groups{state="CompletingRebalance"} 0
segue_groups{state="Empty"} 0
segue_groups{state="PreparingRebalance"} 0
segue_groups{state="Stable"} 2
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "segue_group_committed_offset",
		"segue_group_coordinator_load_seconds_total", "segue_group_coordinator_shards", "segue_group_lag", "segue_group_lag_left_out",
		"segue_group_total_lag", "segue_group_offsets", "segue_group_offsets_committed_total", "segue_groups"); err != nil {
		t.Error(err)
	}
}

// Two series of one name are an error of the whole scrape, so no two groups may be shown alike, whatever clients call them.
func TestLabelsOfOddGroupsDiffer(t *testing.T) {
	by := map[string]string{}
	for _, id := range []string{"", "g", "\xff", `"\xff"`, `\xff`, `"`, "\uFFFD", `"g"`, `"\"g\""`} {
		l := label(id)
		if other, taken := by[l]; taken {
			t.Errorf("groups %q and %q are both shown as %s", other, id, l)
		}
		by[l] = id
	}
}
