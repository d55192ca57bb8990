//go:build integration && unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/integration/history"
)

// mill is a crowd with transactions: traders that write to several topics at once, and chains that make records of one
// topic into records of another.
type mill struct {
	*crowd
	traders group
	chains  group

	commits, aborts, vanished atomic.Int64
	chained                   atomic.Int64 // transactions that chains have committed

	lock     sync.Mutex
	sources  map[history.Value]history.Value // of what chains have made
	troubles map[string]int                  // what clients were told, and how often
}

func newMill(b *broker, rng *rand.Rand) *mill {
	return &mill{
		crowd: newCrowd(b, rng), traders: newGroup(), chains: newGroup(),
		sources: map[history.Value]history.Value{}, troubles: map[string]int{},
	}
}

// unreasonable is what a sound broker never tells a client that keeps to the protocol: there is always reason to be fenced, or
// not to be answered, while the broker comes and goes.
var unreasonable = []*kerr.Error{
	kerr.UnknownServerError, kerr.InvalidTxnState, kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerIDMapping,
}

// trouble notes what a client was told.
func (m *mill) trouble(what string, err error) {
	for _, never := range unreasonable {
		if errors.Is(err, never) {
			m.complain("%s: %v", what, err)
		}
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	m.troubles[fmt.Sprintf("%s: %v", what, err)]++
}

// trader is a producer with a transactional id, one of many that come one after the other.
type trader struct {
	m      *mill
	cl     *kgo.Client
	book   *history.Client
	rng    *rand.Rand
	topics []crowdTopic
	txn    int32
}

// come begins a trader in the place of the one before it, which may not know.
func (m *mill) come(id string, n int, timeout time.Duration, rng *rand.Rand, topics []crowdTopic) *trader {
	return &trader{
		m: m, rng: rng, topics: topics, book: m.rec.Transactional(fmt.Sprint(id, "-", n), id),
		cl: m.b.client(m.b.t, kgo.TransactionalID(id), kgo.TransactionTimeout(timeout),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0)),
	}
}

// init has the broker fence all that were there before.
func (tr *trader) init() bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	op := tr.book.Begin(history.Op{Kind: history.Init, Partition: history.Nowhere})
	if _, _, err := tr.cl.ProducerID(ctx); err != nil {
		tr.m.trouble("init", err)
		return false
	}
	op.End(history.OK, history.Nowhere)
	return true
}

// fill begins a transaction and sends some records in it. It returns whether each was acknowledged.
func (tr *trader) fill() bool {
	if err := tr.cl.BeginTransaction(); err != nil {
		tr.m.trouble("begin", err)
		return false
	}
	tr.txn = tr.m.rec.Transaction()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var failed atomic.Bool
	for n := 1 + tr.rng.IntN(6); n > 0; n-- {
		topic := tr.topics[tr.rng.IntN(len(tr.topics))]
		r := &kgo.Record{Topic: topic.name, Partition: tr.rng.Int32N(topic.partitions)}
		tr.m.send(ctx, tr.cl, tr.book, topic, r, history.Op{Txn: tr.txn}, &failed)
		if tr.rng.IntN(20) == 0 {
			pass(nil, time.Duration(tr.rng.IntN(100))*time.Millisecond)
		}
	}
	if err := tr.cl.Flush(ctx); err != nil {
		tr.m.trouble("flush", err)
		return false
	}
	return !failed.Load()
}

// send produces a record in a transaction, and notes whether it fails.
func (m *mill) send(ctx context.Context, cl *kgo.Client, book *history.Client, topic crowdTopic, r *kgo.Record, op history.Op, failed *atomic.Bool) history.Value {
	v := history.Value(m.values.Add(1))
	r.Timestamp = time.Now()
	r.Value = m.noise.payload(v, int(v%300))
	op.Kind, op.Partition, op.Value, op.Time, op.Offset = history.Send, m.partition(topic, r.Partition), v, r.Timestamp.UnixMilli(), history.Nowhere
	pending := book.Begin(op)
	cl.Produce(ctx, r, func(r *kgo.Record, err error) {
		if err != nil {
			m.trouble("send", err)
			failed.Store(true)
			return
		}
		pending.End(history.OK, r.Offset)
		m.acks.Add(1)
	})
	return v
}

// end ends the transaction, and says whether the trader may go on.
func (tr *trader) end(commit kgo.TransactionEndTry) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kind, count := history.Abort, &tr.m.aborts
	if commit {
		kind, count = history.Commit, &tr.m.commits
	}
	op := tr.book.Begin(history.Op{Kind: kind, Partition: history.Nowhere, Txn: tr.txn})
	if err := tr.cl.EndTransaction(ctx, commit); err != nil {
		tr.m.trouble(fmt.Sprint(kind), err)
		return false
	}
	op.End(history.OK, history.Nowhere)
	count.Add(1)
	return true
}

// abandon aborts a transaction of which something has failed, as a client has to.
func (tr *trader) abandon() bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := tr.cl.AbortBufferedRecords(ctx); err != nil {
		tr.m.trouble("abort", err)
		return false
	}
	return tr.end(kgo.TryAbort)
}

// trade has one trader after the other write in transactions to the topics, until the group ends. Most transactions are
// committed; some traders go in the middle of one, and some of those are still there when the next one has come.
func (m *mill) trade(id string, timeout time.Duration, topics ...crowdTopic) {
	rng := m.random()
	g := &m.traders
	g.wait.Go(func() {
		for n := 0; !g.isEnding(); n++ {
			tr := m.come(id, n, timeout, m.random(), topics)
			if tr.init() && tr.work(g) && rng.IntN(2) == 0 {
				g.wait.Go(func() { // it comes back too late
					defer tr.cl.Close()
					pass(g.stop, time.Duration(tr.rng.IntN(200))*time.Millisecond)
					tr.end(kgo.TryCommit)
				})
				continue
			}
			tr.cl.Close()
			pass(g.stop, time.Duration(rng.Int64N(int64(timeout/2))))
		}
		last := m.come(id, -1, timeout, rng, topics)
		defer last.cl.Close()
		if !last.init() {
			m.complain("nobody can take over transactional id %s in the end", id)
		}
	})
}

// work goes through some transactions, and says whether it has left the last one open.
func (tr *trader) work(g *group) (open bool) {
	for n := 1 + tr.rng.IntN(30); n > 0 && !g.isEnding(); n-- {
		sound := tr.fill()
		switch fate := tr.rng.IntN(10); {
		case tr.txn != 0 && fate == 0 && n == 1:
			tr.m.vanished.Add(1)
			return sound
		case !sound || fate < 3:
			sound = tr.abandon()
		default:
			sound = tr.end(kgo.TryCommit)
		}
		if !sound {
			return false
		}
	}
	return false
}

// chain has one member after the other of a group make each record of a topic into one of another.
func (m *mill) chain(id, name string, from, to crowdTopic) {
	rng, g := m.random(), &m.chains
	g.wait.Go(func() {
		for n := 0; !g.isEnding(); n++ {
			s, err := kgo.NewGroupTransactSession(m.b.options(
				kgo.TransactionalID(id), kgo.TransactionTimeout(traderTimeout), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
				kgo.ConsumerGroup(name), kgo.ConsumeTopics(from.name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
				kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond),
				kgo.SessionTimeout(chaosSession), kgo.HeartbeatInterval(200*time.Millisecond),
			)...)
			if err != nil {
				m.complain("a chain of %s: %v", id, err)
				return
			}
			l := &link{m: m, s: s, rng: rng, from: from, to: to, book: m.rec.Transactional(fmt.Sprint(id, "-", n), id)}
			l.work(g)
			l.s.Close()
		}
	})
}

// link is a member of a chain.
type link struct {
	m        *mill
	s        *kgo.GroupTransactSession
	rng      *rand.Rand
	book     *history.Client
	from, to crowdTopic
}

// work transforms until something is wrong, or the group ends, or now and then for no reason at all.
func (l *link) work(g *group) {
	ctx, cancel := g.context()
	defer cancel()
	for asked := l.m.rec.Now(); ; {
		since := asked
		asked = l.m.rec.Now()
		fetches := l.s.PollRecords(ctx, 1+l.rng.IntN(40))
		if ctx.Err() != nil {
			return
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		if !l.transform(fetches, since) {
			return
		}
	}
}

// transform has one transaction for what was read, and says whether the member may go on.
func (l *link) transform(fetches kgo.Fetches, since time.Duration) bool {
	if err := l.s.Begin(); err != nil {
		l.m.trouble("begin", err)
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	txn, failed := l.m.rec.Transaction(), atomic.Bool{}
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) == 0 {
			return
		}
		op := l.m.polled(l.from, f)
		// Its partitions come and go, and it goes back when a transaction is aborted.
		l.book.Add(history.Op{Kind: history.Seek, Outcome: history.OK, Partition: op.Partition, Offset: history.Nowhere})
		op.Invoke, op.Committed, op.Txn = since, true, txn
		// One answer is given to it in several polls.
		op.HighWatermark, op.LastStable, op.LogStart = history.Nowhere, history.Nowhere, history.Nowhere
		l.book.Add(op)
		for _, r := range op.Records {
			out := &kgo.Record{Topic: l.to.name, Partition: int32(r.Value % history.Value(l.to.partitions))}
			v := l.m.send(ctx, l.s.Client(), l.book, l.to, out, history.Op{Txn: txn, Source: r.Value}, &failed)
			l.m.lock.Lock()
			l.m.sources[v] = r.Value
			l.m.lock.Unlock()
		}
	})
	if l.rng.IntN(40) == 0 {
		l.m.vanished.Add(1)
		return false
	}
	op := l.book.Begin(history.Op{Kind: history.Commit, Partition: history.Nowhere, Txn: txn})
	if err := l.s.Client().Flush(ctx); err != nil {
		l.m.trouble("flush", err)
		return false
	}
	committed, err := l.s.End(ctx, kgo.TransactionEndTry(!failed.Load()))
	switch {
	case err != nil:
		l.m.trouble("end", err)
		return false
	case committed:
		op.End(history.OK, history.Nowhere)
		l.m.commits.Add(1)
		l.m.chained.Add(1)
	default:
		op.End(history.Failed, history.Nowhere)
		l.m.aborts.Add(1)
	}
	return true
}

// awaitChains waits until chains have committed once more.
func (m *mill) awaitChains(t testing.TB) {
	t.Helper()
	before := m.chained.Load()
	eventually(t, 2*patience, "chains have committed once more", func() bool { return m.chained.Load() > before })
}

// traderTimeout is how long a transaction may be open of traders that are not in a hurry.
const traderTimeout = 20 * time.Second

// values returns what is committed to a topic, once nothing is open there any more.
func (m *mill) committedTo(ctx context.Context, topic crowdTopic) (values map[history.Value]bool, err error) {
	a := m.asker()
	defer a.cl.Close()
	a.committed, values = true, map[history.Value]bool{}
	for p := range topic.partitions {
		for at := int64(0); ; at = a.next {
			got, err := a.fetch(ctx, topic, p, at, 4<<20, 0)
			if ctx.Err() != nil {
				return nil, fmt.Errorf("%v-%d at %d of %d, of which %d are stable: %w", topic.name, p, at, got.HighWatermark, got.LastStable, errors.Join(err, ctx.Err()))
			}
			for _, r := range got.Records {
				values[r.Value] = true
			}
			if err == nil && a.next >= got.HighWatermark {
				break
			}
			if a.next == at {
				pass(ctx.Done(), 20*time.Millisecond)
			}
		}
	}
	return values, nil
}

// settle ends the traders, and then, when all that they have committed is transformed, the chains.
func (m *mill) settle(t testing.TB, from, to crowdTopic) {
	t.Helper()
	m.traders.end()
	m.writers.end()
	ctx := within(t, 4*patience)
	due, err := m.committedTo(ctx, from)
	for missing := len(due); err == nil && missing > 0; pass(ctx.Done(), 50*time.Millisecond) {
		var done map[history.Value]bool
		if done, err = m.committedTo(ctx, to); err != nil {
			err = fmt.Errorf("%d of %d records are not transformed: %w", missing, len(due), err)
			break
		}
		missing = len(due)
		m.lock.Lock()
		seen := map[history.Value]bool{}
		for v := range done {
			if source := m.sources[v]; due[source] && !seen[source] {
				seen[source] = true
				missing--
			}
		}
		m.lock.Unlock()
	}
	m.chains.end()
	if err != nil {
		t.Errorf("in the end: %v", err)
	}
}

// String sums up what was done.
func (m *mill) String() string {
	m.lock.Lock()
	defer m.lock.Unlock()
	return fmt.Sprintf("%d commits, %d aborts, %d left open; told: %v", m.commits.Load(), m.aborts.Load(), m.vanished.Load(), m.troubles)
}

// setTransactionVersion has the cluster agree upon the version of transactions.
func (b *broker) setTransactionVersion(t testing.TB, version int16) {
	t.Helper()
	const safeDowngrade = 2 // which an upgrade may be, too
	adm := b.admin(t)
	defer adm.Close()
	updated, err := adm.UpdateFeatures(within(t, patience), false,
		kadm.FeatureUpdate{Feature: "transaction.version", MaxVersionLevel: version, UpgradeType: safeDowngrade})
	if err == nil {
		err = updated.Error()
	}
	if err != nil {
		t.Fatalf("set transaction.version to %d: %v", version, err)
	}
}
