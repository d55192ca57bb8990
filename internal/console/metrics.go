package console

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"segue/internal/server"
	"segue/partition"
	"segue/storage"
)

// Sources are the functions that a scrape calls. Any of them may be nil: what it would tell is then not there.
type Sources struct {
	Server func() server.Stats
	// Dirs returns the statistics of each log directory.
	Dirs func() []storage.Stats
	// Manager returns the counts of all partitions, and Each goes over those that are open or could not be opened.
	Manager func() partition.ManagerStats
	Each    func(func(storage.Identity, *partition.Partition, error))
	// Sessions returns the counts of fetch sessions.
	Sessions func() SessionStats
	// Groups returns the figures of consumer groups. It waits for the coordinator, within bounds.
	Groups func() GroupStats
	// Transactions returns the figures of transactions. It waits for the coordinator, within bounds.
	Transactions func() TransactionStats
	// Limits returns what the broker takes on.
	Limits func() LimitStats
}

// LimitStats tells how much the broker takes on, and what it has refused for that.
type LimitStats struct {
	Memory        int64 // bytes that the process may use; 0 if that is not known
	Connections   int
	Partitions    int
	TopicsRefused int64 // of all time
}

// SessionStats counts fetch sessions (KIP-227).
type SessionStats struct {
	Sessions   int   // that are kept now
	Partitions int   // in all of them
	Evictions  int64 // of a session for a new one, of all time
}

// metric is one metric's description and kind.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("segue_"+name, help, labels, nil), prometheus.GaugeValue}
}

// counter is for a name that ends in _total.
func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("segue_"+name, help, labels, nil), prometheus.CounterValue}
}

// distribution is for durations, whose name ends in _seconds.
func distribution(name, help string, labels ...string) metric {
	return metric{desc: prometheus.NewDesc("segue_"+name, help, labels, nil)}
}

// scrape is one scrape: where its metrics go.
type scrape chan<- prometheus.Metric

func (s scrape) put(m metric, value float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
}

// putDurations puts a histogram. Counts has one bucket more than there are limits, and is not cumulated.
func (s scrape) putDurations(m metric, limits []time.Duration, counts []uint64, sum time.Duration, labels ...string) {
	buckets := make(map[float64]uint64, len(limits))
	var seen uint64
	for i, limit := range limits {
		seen += counts[i]
		buckets[limit.Seconds()] = seen
	}
	seen += counts[len(limits)]
	s <- prometheus.MustNewConstHistogram(m.desc, seen, sum.Seconds(), buckets, labels...)
}

// collector turns statistics into metrics. It is registered unchecked (it describes nothing), since which series there
// are depends on the topics.
type collector struct {
	sources Sources
	server  serverMetrics
	storage storageMetrics
	parts   partitionMetrics
	fetch   fetchMetrics
	limits  limitMetrics
	groups  groupMetrics
	txns    transactionMetrics
}

func newCollector(s Sources) *collector {
	return &collector{
		s, newServerMetrics(), newStorageMetrics(), newPartitionMetrics(), newFetchMetrics(), newLimitMetrics(), newGroupMetrics(),
		newTransactionMetrics(),
	}
}

// Describe implements prometheus.Collector.
func (*collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := scrape(out)
	if c.sources.Server != nil {
		c.server.put(s, c.sources.Server())
	}
	if c.sources.Dirs != nil {
		for _, d := range c.sources.Dirs() {
			c.storage.put(s, d)
		}
	}
	if c.sources.Manager != nil {
		c.parts.put(s, c.sources.Manager())
	}
	if c.sources.Each != nil {
		c.parts.putEach(s, c.sources.Each)
	}
	if c.sources.Sessions != nil {
		c.fetch.put(s, c.sources.Sessions())
	}
	if c.sources.Limits != nil {
		c.limits.put(s, c.sources.Limits())
	}
	if c.sources.Groups != nil {
		c.groups.put(s, c.sources.Groups())
	}
	if c.sources.Transactions != nil {
		c.txns.put(s, c.sources.Transactions())
	}
}

type serverMetrics struct {
	connections, accepted, rejected, acceptErrors, closed, panics metric
	memory, memoryUsed, memoryWaiting                             metric
	answers, answersUsed, answersWaiting                          metric
	requests, errors, bytesIn, bytesOut, queue, handle, send      metric
}

func newServerMetrics() serverMetrics {
	return serverMetrics{
		connections:   gauge("connections", "Connections of clients that are open."),
		accepted:      counter("connections_accepted_total", "Connections that were taken."),
		rejected:      counter("connections_rejected_total", "Connections that were closed at once, for a limit on their number."),
		acceptErrors:  counter("connections_accept_errors_total", "Failures to take a connection."),
		closed:        counter("connections_closed_total", "Connections that the broker has closed, by why.", "reason"),
		panics:        counter("handler_panics_total", "Panics of handlers, each of which closed a connection."),
		memory:        gauge("request_memory_bytes", "Memory that requests may take, small ones apart."),
		memoryUsed:    gauge("request_memory_used_bytes", "Memory that requests take, small ones apart."),
		memoryWaiting: gauge("request_memory_waiting_connections", "Connections that wait for memory for a request."),

		answers:        gauge("answer_memory_bytes", "Memory that finding answers and sending them may take, small ones apart."),
		answersUsed:    gauge("answer_memory_used_bytes", "Memory that is set aside for answers, small ones apart."),
		answersWaiting: gauge("answer_memory_waiting_connections", "Connections that wait for memory for an answer."),

		requests: counter("requests_total", "Requests received whole.", "api"),
		errors:   counter("request_errors_total", "Requests for which the connection was closed instead of an answer sent.", "api"),
		bytesIn:  counter("request_bytes_total", "Bytes of requests.", "api"),
		bytesOut: counter("response_bytes_total", "Bytes of answers.", "api"),
		queue:    distribution("request_queue_seconds", "Time from the last byte of a request until it was begun.", "api"),
		handle:   distribution("request_handle_seconds", "Time from then until the answer was ready, long polls included.", "api"),
		send:     distribution("request_send_seconds", "Time from then until the answer was handed to the operating system.", "api"),
	}
}

func (m *serverMetrics) put(s scrape, st server.Stats) {
	c := st.Connections
	s.put(m.connections, float64(c.Open))
	s.put(m.accepted, float64(c.Accepted))
	s.put(m.rejected, float64(c.Rejected))
	s.put(m.acceptErrors, float64(c.AcceptErrors))
	s.put(m.closed, float64(c.IdleClosed), "idle")
	s.put(m.closed, float64(c.ProtocolFault), "protocol")
	s.put(m.closed, float64(c.SlowSenders), "slow_sender")
	s.put(m.closed, float64(c.Held), "memory_held")
	s.put(m.closed, float64(c.SlowReaders), "slow_reader")
	s.put(m.panics, float64(c.Panics))
	s.put(m.memory, float64(st.Memory.Budget))
	s.put(m.memoryUsed, float64(st.Memory.Used))
	s.put(m.memoryWaiting, float64(st.Memory.Waiting))
	s.put(m.answers, float64(st.Answers.Budget))
	s.put(m.answersUsed, float64(st.Answers.Used))
	s.put(m.answersWaiting, float64(st.Answers.Waiting))
	limits := make([]time.Duration, server.Buckets)
	for i := range limits {
		limits[i] = server.BucketLimit(i)
	}
	for _, api := range st.APIs {
		s.put(m.requests, float64(api.Requests), api.Name)
		s.put(m.errors, float64(api.Errors), api.Name)
		s.put(m.bytesIn, float64(api.BytesIn), api.Name)
		s.put(m.bytesOut, float64(api.BytesOut), api.Name)
		s.putDurations(m.queue, limits, api.Queue.Counts[:], api.Queue.Sum, api.Name)
		s.putDurations(m.handle, limits, api.Handle.Counts[:], api.Handle.Sum, api.Name)
		s.putDurations(m.send, limits, api.Send.Counts[:], api.Send.Sum, api.Name)
	}
}

type storageMetrics struct {
	logs, segments, bytes, files, failed          metric
	full, free                                    metric
	appends, appendedBytes, appendErrors          metric
	rolls, dropped, indexesOdd, indexesRebuilt    metric
	cuts, cutBytes, damage, corruptReads, flushes metric
	cleanerRuns, cleanerFailures, cleanerSeconds  metric
	cleanerSegments, cleanerBytes, cleanerRecords metric
	cleanerDamaged, cleanerUnread, uncleanable    metric
}

func newStorageMetrics() storageMetrics {
	return storageMetrics{
		logs:           gauge("storage_logs", "Logs that are open.", "dir"),
		segments:       gauge("storage_segments", "Segments of open logs.", "dir"),
		bytes:          gauge("storage_bytes", "Bytes of record batches in open logs.", "dir"),
		files:          gauge("storage_open_files", "Data and index files that are open.", "dir"),
		failed:         gauge("storage_failed_logs", "Logs that have failed and take no more writes until they are opened again.", "dir"),
		full:           gauge("storage_full", "1 while the disk is full: something did not fit, and there has not been room since.", "dir"),
		free:           gauge("storage_free_bytes", "Room on the disk.", "dir"),
		appends:        counter("storage_appends_total", "Record batches written.", "dir"),
		appendedBytes:  counter("storage_appended_bytes_total", "Bytes of record batches written.", "dir"),
		appendErrors:   counter("storage_append_errors_total", "Record batches that could not be written.", "dir"),
		rolls:          counter("storage_rolls_total", "Segments that were begun because another was full or old.", "dir"),
		dropped:        counter("storage_segments_dropped_total", "Segments that retention has dropped.", "dir"),
		indexesOdd:     counter("storage_indexes_odd_total", "Index entries that did not hold against the data.", "dir"),
		indexesRebuilt: counter("storage_indexes_rebuilt_total", "Indexes that were made anew from the data.", "dir"),
		cuts:           counter("storage_recovery_cuts_total", "Torn ends that recovery has cut off and set aside.", "dir"),
		cutBytes:       counter("storage_recovery_cut_bytes_total", "Bytes of torn ends that recovery has cut off and set aside.", "dir"),
		damage:         counter("storage_damage_total", "Stretches of data found that cannot be read.", "dir"),
		corruptReads:   counter("storage_corrupt_reads_total", "Reads that met data which cannot be read.", "dir"),

		cleanerRuns:     counter("log_cleaner_runs_total", "Rounds of compaction over one log that came through.", "dir"),
		cleanerFailures: counter("log_cleaner_failures_total", "Rounds of compaction that failed, and are tried again.", "dir"),
		cleanerSeconds:  counter("log_cleaner_seconds_total", "Time that rounds of compaction took.", "dir"),
		cleanerSegments: counter("log_cleaner_segments_total", "Segments that compaction has replaced.", "dir"),
		cleanerBytes:    counter("log_cleaner_written_bytes_total", "Bytes that compaction has written.", "dir"),
		cleanerRecords:  counter("log_cleaner_dropped_records_total", "Records that compaction has left out.", "dir"),
		cleanerDamaged:  counter("log_cleaner_damaged_segments_total", "Times that compaction met a damaged segment and left it alone.", "dir"),
		cleanerUnread:   counter("log_cleaner_unread_batches_total", "Times that compaction kept a batch because it could not be unpacked.", "dir"),
		uncleanable:     gauge("log_cleaner_uncleanable_partitions", "Partitions that are not compacted any more before the next start.", "dir"),

		flushes: distribution("storage_flush_seconds", "Time that a sync took, of one log or of many at once.", "dir"),
	}
}

func (m *storageMetrics) put(s scrape, st storage.Stats) {
	for _, v := range []struct {
		metric metric
		value  int64
	}{
		{m.logs, int64(st.Logs)}, {m.segments, int64(st.Segments)}, {m.bytes, st.Bytes}, {m.files, int64(st.OpenFiles)},
		{m.failed, int64(st.Failed)}, {m.appends, st.Appends}, {m.appendedBytes, st.AppendedBytes},
		{m.appendErrors, st.AppendErrors}, {m.rolls, st.Rolls}, {m.dropped, st.SegmentsDropped},
		{m.indexesOdd, st.IndexesOdd}, {m.indexesRebuilt, st.IndexesRebuilt}, {m.cuts, st.Cuts}, {m.cutBytes, st.CutBytes},
		{m.damage, st.Damage}, {m.corruptReads, st.CorruptReads}, {m.cleanerRuns, st.Compactions},
		{m.cleanerFailures, st.CompactFailures}, {m.cleanerSegments, st.CompactedSegments}, {m.cleanerBytes, st.CompactedBytes},
		{m.cleanerRecords, st.CompactedRecords}, {m.cleanerDamaged, st.CompactDamaged}, {m.cleanerUnread, st.CompactUnread},
		{m.uncleanable, int64(st.CompactHalted)},
	} {
		s.put(v.metric, float64(v.value), st.Path)
	}
	s.put(m.cleanerSeconds, st.CompactTime.Seconds(), st.Path)
	full := 0.0
	if st.Full {
		full = 1
	}
	s.put(m.full, full, st.Path)
	if st.Free >= 0 {
		s.put(m.free, float64(st.Free), st.Path)
	}
	counts := make([]uint64, len(st.Flushes.Counts))
	for i, n := range st.Flushes.Counts {
		counts[i] = uint64(max(0, n))
	}
	if len(counts) == len(st.Flushes.Bounds)+1 {
		s.putDurations(m.flushes, st.Flushes.Bounds, counts, st.Flushes.Sum, st.Path)
	}
}

type partitionMetrics struct {
	openTxns, oldestTxn, stableLag metric

	open, opening, offline                       metric
	batches, records, bytes, duplicates, refused metric
	size, producers                              metric
	logStart, highWatermark                      metric
}

func newPartitionMetrics() partitionMetrics {
	return partitionMetrics{
		open:    gauge("partitions_open", "Partitions that are open."),
		opening: gauge("partitions_opening", "Partitions that are being opened."),
		offline: gauge("partitions_offline", "Partitions that could not be opened or have failed since."),

		batches:    counter("topic_batches_total", "Record batches written to the topic.", "topic"),
		records:    counter("topic_records_total", "Records written to the topic.", "topic"),
		bytes:      counter("topic_bytes_total", "Bytes written to the topic, as stored.", "topic"),
		duplicates: counter("topic_duplicate_batches_total", "Retries of record batches that were there already.", "topic"),
		refused:    counter("topic_refused_batches_total", "Record batches that were not fit to be written, or out of their turn.", "topic"),
		size:       gauge("topic_size_bytes", "Bytes of record batches in the topic.", "topic"),
		producers:  gauge("topic_producers", "Idempotent producers that the topic's partitions know, each counted in each.", "topic"),

		logStart:      gauge("partition_log_start_offset", "Offset of the first record of the partition.", "topic", "partition"),
		highWatermark: gauge("partition_high_watermark", "Offset behind the last committed record of the partition.", "topic", "partition"),
		openTxns:      gauge("partition_open_transactions", "Transactions that are open in the partition, where there are any or there were a moment ago.", "topic", "partition"),
		oldestTxn:     gauge("partition_oldest_transaction_seconds", "Age of the first transaction that is open in the partition.", "topic", "partition"),
		stableLag:     gauge("partition_last_stable_offset_lag", "How far the last stable offset is behind the high watermark, where it is.", "topic", "partition"),
	}
}

func (m *partitionMetrics) put(s scrape, st partition.ManagerStats) {
	s.put(m.open, float64(st.Open))
	s.put(m.opening, float64(st.Opening))
	s.put(m.offline, float64(st.Offline))
}

// topicSums are the counts of a topic's partitions.
type topicSums struct {
	partition.Stats
	size int64
}

func (m *partitionMetrics) putEach(s scrape, each func(func(storage.Identity, *partition.Partition, error))) {
	type place struct {
		topic     string
		partition int32
	}
	seen := map[place]bool{} // of a topic and one of the same name that is being deleted only one is shown
	topics := map[string]*topicSums{}
	each(func(id storage.Identity, p *partition.Partition, err error) {
		if err != nil || seen[place{id.Topic, id.Partition}] {
			return
		}
		seen[place{id.Topic, id.Partition}] = true
		o, number := p.Offsets(), strconv.Itoa(int(id.Partition))
		s.put(m.logStart, float64(o.LogStart), id.Topic, number)
		s.put(m.highWatermark, float64(o.HighWatermark), id.Topic, number)
		m.putTransactions(s, p.Transactions(), id.Topic, number)
		sums := topics[id.Topic]
		if sums == nil {
			sums = &topicSums{}
			topics[id.Topic] = sums
		}
		sums.add(p)
	})
	for topic, sums := range topics {
		s.put(m.batches, float64(sums.Batches), topic)
		s.put(m.records, float64(sums.Records), topic)
		s.put(m.bytes, float64(sums.Bytes), topic)
		s.put(m.duplicates, float64(sums.Duplicates), topic)
		s.put(m.refused, float64(sums.Refused), topic)
		s.put(m.size, float64(sums.size), topic)
		s.put(m.producers, float64(sums.Producers), topic)
	}
}

// putTransactions tells of a partition in which transactions are open, or were a moment ago.
func (m *partitionMetrics) putTransactions(s scrape, t partition.TransactionStats, labels ...string) {
	if t.Open == 0 && t.Behind == 0 {
		return
	}
	s.put(m.openTxns, float64(t.Open), labels...)
	s.put(m.stableLag, float64(t.Behind), labels...)
	age := time.Duration(0)
	if t.Open > 0 {
		age = max(0, time.Since(time.UnixMilli(t.Oldest)))
	}
	s.put(m.oldestTxn, age.Seconds(), labels...)
}

func (t *topicSums) add(p *partition.Partition) {
	st := p.Stats()
	t.Batches += st.Batches
	t.Records += st.Records
	t.Bytes += st.Bytes
	t.Duplicates += st.Duplicates
	t.Refused += st.Refused
	t.Producers += st.Producers
	t.size += p.Size()
}

type fetchMetrics struct{ sessions, partitions, evictions metric }

func newFetchMetrics() fetchMetrics {
	return fetchMetrics{
		sessions:   gauge("fetch_sessions", "Fetch sessions that are kept."),
		partitions: gauge("fetch_session_partitions", "Partitions in fetch sessions."),
		evictions:  counter("fetch_session_evictions_total", "Fetch sessions that were dropped for another."),
	}
}

func (m *fetchMetrics) put(s scrape, st SessionStats) {
	s.put(m.sessions, float64(st.Sessions))
	s.put(m.partitions, float64(st.Partitions))
	s.put(m.evictions, float64(st.Evictions))
}

type limitMetrics struct{ memory, connections, partitions, refused metric }

func newLimitMetrics() limitMetrics {
	return limitMetrics{
		memory:      gauge("limit_memory_bytes", "Memory that the process may use, from which limits follow that are not set."),
		connections: gauge("limit_connections", "Connections that may be open."),
		partitions:  gauge("limit_partitions", "Partitions that all topics together may have."),
		refused:     counter("topics_refused_total", "Topics that were not created because there would be too many partitions."),
	}
}

func (m *limitMetrics) put(s scrape, st LimitStats) {
	s.put(m.memory, float64(st.Memory))
	s.put(m.connections, float64(st.Connections))
	s.put(m.partitions, float64(st.Partitions))
	s.put(m.refused, float64(st.TopicsRefused))
}
