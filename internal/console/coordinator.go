package console

import "segue/internal/coordinator"

// coordinatorMetrics are of what runs the machines of a coordinator.
type coordinatorMetrics struct {
	shards, loads, loadFailures, loadTime, loaded       metric
	commands, records, batches, failures, notUnderstood metric
	unknown                                             metric
}

// newCoordinatorMetrics returns the metrics of a coordinator whose state is in a topic.
func newCoordinatorMetrics(name, topic string) coordinatorMetrics {
	return coordinatorMetrics{
		shards:       gauge(name+"_shards", "Partitions of "+topic+" that the coordinator works with, by what it is at with them.", "state"),
		loads:        counter(name+"_loads_total", "Loads of a partition of "+topic+"."),
		loadFailures: counter(name+"_load_failures_total", "Loads that failed; each is tried again."),
		loadTime:     counter(name+"_load_seconds_total", "Time that loads took."),
		loaded:       counter(name+"_loaded_records_total", "Records that loads have read."),
		notUnderstood: counter(name+"_skipped_records_total",
			"Records that loads have left out, because a newer version wrote them or they are part of a transaction."),
		commands: counter(name+"_commands_total", "Commands that the coordinator has taken."),
		records:  counter(name+"_records_total", "Records that the coordinator has written."),
		batches:  counter(name+"_batches_total", "Batches that these were in."),
		failures: counter(name+"_failures_total", "Failures after which a partition was loaded again."),
		unknown:  gauge(name+"_unknown_shards", "Partitions of "+topic+" that could not tell what they hold in this scrape."),
	}
}

func (m *coordinatorMetrics) put(s scrape, c coordinator.Stats, unknown int) {
	for state, n := range map[string]int{"loading": c.Loading, "serving": c.Serving, "pausing": c.Pausing} {
		s.put(m.shards, float64(n), state)
	}
	for _, v := range []struct {
		metric metric
		value  float64
	}{
		{m.loads, float64(c.Loads)}, {m.loadFailures, float64(c.LoadFailures)}, {m.loadTime, c.LoadTime.Seconds()},
		{m.loaded, float64(c.LoadedRecords)}, {m.notUnderstood, float64(c.UnknownRecords + c.TransactionalRecords)},
		{m.commands, float64(c.Commands)}, {m.records, float64(c.Records)}, {m.batches, float64(c.Batches)},
		{m.failures, float64(c.Failures)}, {m.unknown, float64(unknown)},
	} {
		s.put(v.metric, v.value)
	}
}
