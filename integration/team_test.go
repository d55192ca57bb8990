//go:build integration && unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/integration/history"
)

// soon lets members that are silent for a second count as gone, which by default takes six at least.
const soon = "group.min.session.timeout.ms=1000"

// team is a consumer group that works on topics, whatever happens to the broker, and keeps a history of it.
type team struct {
	b       *broker
	group   string
	topics  []string
	book    *history.Membership
	workers group // whoever writes to the topics
	watch   group // whoever looks at what is committed
	members []*member
	opts    []kgo.Opt // of each member

	tolerated []history.Name // that members' clients are to blame for
}

// newTeam makes a topic, or takes those that there are, and a group that has no members yet. Somebody looks at what it has
// committed all along.
func newTeam(t testing.TB, b *broker, name string, partitions int32, opts ...kgo.Opt) *team {
	t.Helper()
	tm := &team{
		b: b, group: name, topics: []string{name}, book: history.NewMembership(), workers: newGroup(), watch: newGroup(),
		opts: append([]kgo.Opt{
			kgo.ConsumerGroup(name), kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.FetchMaxWait(100 * time.Millisecond),
			kgo.SessionTimeout(patience), kgo.HeartbeatInterval(200 * time.Millisecond),
		}, opts...),
	}
	b.createTopic(t, name, partitions)
	tm.look()
	return tm
}

// write has records written to the topics until finish.
func (tm *team) write() {
	cl := tm.b.client(tm.b.t, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerLinger(0))
	tm.workers.wait.Go(func() {
		defer cl.Close()
		for i := 0; pass(tm.workers.stop, 10*time.Millisecond); i++ {
			for n := range 3 {
				r := &kgo.Record{Topic: tm.topics[(i+n)%len(tm.topics)], Value: fmt.Append(nil, i)}
				cl.Produce(context.Background(), r, func(r *kgo.Record, err error) {
					if err == nil {
						tm.book.Produced(partitionOf(r), r.Offset)
					}
				})
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		cl.Flush(ctx) // what is not answered has failed, or its answer comes later: it is not asked for in the end
	})
}

func partitionOf(r *kgo.Record) history.Partition {
	return history.Partition{Topic: r.Topic, Index: r.Partition}
}

// look asks for what is committed again and again until finish.
func (tm *team) look() {
	adm := tm.b.admin(tm.b.t)
	tm.watch.wait.Go(func() {
		defer adm.Close()
		ctx, cancel := tm.watch.context()
		defer cancel()
		for pass(tm.watch.stop, 30*time.Millisecond) {
			tm.inquire(ctx, adm)
		}
	})
}

// inquire asks for what is committed, and says whether there was an answer.
func (tm *team) inquire(ctx context.Context, adm *kadm.Client) bool {
	inquiry := tm.book.Inquire()
	offsets, err := adm.FetchOffsets(ctx, tm.group)
	if err != nil || offsets.Error() != nil {
		return false
	}
	found := map[history.Partition]int64{}
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.At >= 0 {
			found[history.Partition{Topic: o.Topic, Index: o.Partition}] = o.At
		}
	})
	inquiry.End(found)
	return true
}

// finish waits until all that was written is processed and committed, ends the members, and reports what cannot be.
func (tm *team) finish(t testing.TB) {
	t.Helper()
	tm.workers.end()
	caughtUp := holdsWithin(2*patience, func() bool {
		unprocessed, uncommitted := tm.book.Behind()
		return unprocessed == 0 && uncommitted == 0
	})
	if unprocessed, uncommitted := tm.book.Behind(); !caughtUp {
		t.Errorf("group %s: %d records are not processed, %d not committed; %v", tm.group, unprocessed, uncommitted, tm.members)
	}
	tm.abandon()
	report := tm.book.Report()
	for _, name := range tm.tolerated {
		if n := report.Found[name]; n > 0 {
			t.Logf("group %s: %d × %s, which is a client's fault", tm.group, n, name)
			report = report.Without(name)
		}
	}
	if err := report.Err(); err != nil {
		t.Errorf("group %s: %v", tm.group, err)
	}
	t.Logf("group %s: %d records, %d partitions lost by members that were expelled", tm.group, report.Known, tm.book.Expelled())
}

// abandon ends all that the team has left running.
func (tm *team) abandon() {
	if !tm.workers.isEnding() {
		tm.workers.end()
	}
	for _, m := range tm.members {
		m.leave()
	}
	if !tm.watch.isEnding() {
		tm.watch.end()
	}
}

// member is a consumer of a team. It commits what it has processed before it looks for more, or gives a partition up.
type member struct {
	team   *team
	name   string
	cl     *kgo.Client
	end    context.CancelFunc
	ended  chan struct{}
	rounds atomic.Int64 // how often it was told of an assignment, also one that brought nothing new
	count  atomic.Int64 // of records

	mu       sync.Mutex
	owned    map[history.Partition]bool
	troubles map[string]int // what its client told it, and how often
}

// join adds a member. A static one keeps its name.
func (tm *team) join(t testing.TB, name string, opts ...kgo.Opt) *member {
	t.Helper()
	m := &member{team: tm, name: name, ended: make(chan struct{}), owned: map[history.Partition]bool{}, troubles: map[string]int{}}
	m.cl = tm.b.client(t, slices.Concat(tm.opts, []kgo.Opt{
		kgo.ClientID(name),
		kgo.OnPartitionsAssigned(func(_ context.Context, cl *kgo.Client, got map[string][]int32) {
			_, generation := cl.GroupMetadata()
			m.each(got, func(p history.Partition) { tm.book.Assigned(name, generation, p); m.owned[p] = true })
			m.rounds.Add(1)
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
			m.each(gone, func(p history.Partition) { tm.book.Revoked(name, p); delete(m.owned, p) })
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
			m.each(gone, func(p history.Partition) { tm.book.Lost(name, p); delete(m.owned, p) })
		}),
	}, opts)...)
	ctx, cancel := context.WithCancel(context.Background())
	m.end = cancel
	go m.work(ctx)
	tm.members = append(tm.members, m)
	return m
}

func (m *member) each(partitions map[string][]int32, do func(history.Partition)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, indices := range partitions {
		for _, i := range indices {
			do(history.Partition{Topic: topic, Index: i})
		}
	}
}

func (m *member) work(ctx context.Context) {
	defer close(m.ended)
	defer m.cl.CloseAllowingRebalance()
	for {
		fetches := m.cl.PollRecords(ctx, 200)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		fetches.EachError(func(_ string, _ int32, err error) { m.trouble(err) })
		fetches.EachRecord(func(r *kgo.Record) {
			m.team.book.Processed(m.name, partitionOf(r), r.Offset)
			m.count.Add(1)
		})
		m.commit()
		m.cl.AllowRebalance()
	}
}

// commit commits all that was processed.
func (m *member) commit() {
	offsets := m.cl.UncommittedOffsets()
	if len(offsets) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := commitOffsets(ctx, m.cl, m.team.book, offsets)
	if err != nil {
		m.trouble(fmt.Errorf("commit: %w", err))
	}
}

// commitOffsets commits, and notes it. The error is of the first partition that has one.
func commitOffsets(ctx context.Context, cl *kgo.Client, book *history.Membership, offsets map[string]map[int32]kgo.EpochOffset) (err error) {
	each := func(do func(history.Partition, int64)) {
		for topic, ofTopic := range offsets {
			for p, o := range ofTopic {
				do(history.Partition{Topic: topic, Index: p}, o.Offset)
			}
		}
	}
	each(book.Commits)
	cl.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, failed error) {
		err = failed
		if err != nil {
			return
		}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				err = errors.Join(err, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
	if err == nil {
		each(book.Committed)
	}
	return err
}

func (m *member) trouble(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.troubles[err.Error()]++
}

// owns returns what is assigned to the member, in order.
func (m *member) owns() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var indices []int32
	for p := range maps.Keys(m.owned) {
		indices = append(indices, p.Index)
	}
	slices.Sort(indices)
	return indices
}

// leave ends the member, and returns when it has left. A static one is still expected by the group.
func (m *member) leave() {
	m.end()
	<-m.ended
}

// String says what a failure is to say of the member.
func (m *member) String() string {
	owned := m.owns()
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("%s owns %v after %d rounds and %d records, and was told %v", m.name, owned, m.rounds.Load(), m.count.Load(), m.troubles)
}

// awaitShares waits until the members share so many partitions as evenly as can be.
func (tm *team) awaitShares(t testing.TB, partitions int, among ...*member) {
	t.Helper()
	fair := func() bool {
		total, least := 0, partitions
		for _, m := range among {
			n := len(m.owns())
			total, least = total+n, min(least, n)
		}
		return total == partitions && least >= partitions/len(among)
	}
	if !holdsWithin(2*patience, fair) {
		t.Fatalf("%d partitions are not shared fairly: %v", partitions, among)
	}
}

// awaitWork waits until each of the members has processed so many more records.
func awaitWork(t testing.TB, n int64, members ...*member) {
	t.Helper()
	for _, m := range members {
		want := m.count.Load() + n
		if !holdsWithin(2*patience, func() bool { return m.count.Load() >= want }) {
			t.Fatalf("no %d more records come to %v", n, m)
		}
	}
}
