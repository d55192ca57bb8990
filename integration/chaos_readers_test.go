//go:build integration && unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/integration/history"
	"segue/storage/record"
)

// follow has a franz-go consumer read all partitions of a topic as they grow, from its start or from where it ends now.
func (c *crowd) follow(g *group, topic crowdTopic, fromEnd bool) {
	c.followAs(g, topic, fromEnd, false)
}

// followAs is follow by a consumer that may want only what is committed.
func (c *crowd) followAs(g *group, topic crowdTopic, fromEnd, committed bool) {
	book := c.rec.Client("follows "+topic.name, 0)
	isolation := kgo.ReadUncommitted()
	if committed {
		isolation = kgo.ReadCommitted()
	}
	g.wait.Go(func() {
		ctx, cancel := g.context()
		defer cancel()
		places := map[int32]kgo.Offset{}
		for p := range topic.partitions {
			places[p] = kgo.NewOffset().At(0)
			if fromEnd {
				a := c.asker()
				end, err := a.patiently(ctx, a.latest, topic, p)
				a.cl.Close()
				if err != nil {
					return
				}
				places[p] = kgo.NewOffset().At(end)
				book.Add(history.Op{Kind: history.Seek, Outcome: history.OK, Partition: c.partition(topic, p), Offset: end})
			}
		}
		cl := c.b.client(c.b.t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic.name: places}), kgo.FetchIsolationLevel(isolation),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond))
		defer cl.Close()
		// The client asks for more when a poll has taken what it had: a poll brings nothing that is older than the one
		// before it.
		asked, given := c.rec.Now(), map[int32]int64{}
		for ctx.Err() == nil {
			since := asked
			asked = c.rec.Now()
			before := maps.Clone(given) // for what is told comes behind what was read after it
			cl.PollFetches(ctx).EachPartition(func(f kgo.FetchTopicPartition) {
				// Loss is told, too, where control records and aborted ones of a later epoch were passed: the client does
				// not count them. It is one if the client has been given a record from there on.
				var dataLoss *kgo.ErrDataLoss
				if errors.As(f.Err, &dataLoss) && dataLoss.ResetTo < before[f.Partition] {
					c.complain("a consumer of %s-%d was told: %v", topic.name, f.Partition, f.Err)
				}
				if f.Err != nil || len(f.Records) == 0 {
					return
				}
				op := c.polled(topic, f)
				op.Invoke, op.Committed = since, committed
				given[f.Partition] = f.Records[len(f.Records)-1].Offset + 1
				book.Add(op)
			})
		}
	})
}

// polled is what a franz-go consumer was given of a partition.
func (c *crowd) polled(topic crowdTopic, f kgo.FetchTopicPartition) history.Op {
	op := history.Op{
		Kind: history.Poll, Outcome: history.OK, Partition: c.partition(topic, f.Partition), Offset: history.Nowhere,
		HighWatermark: f.HighWatermark, LastStable: f.LastStableOffset, LogStart: f.LogStartOffset,
	}
	for _, r := range f.Records {
		op.Records = append(op.Records, history.Record{
			Offset: r.Offset, Value: c.noise.valueOf(r.Value), Time: r.Timestamp.UnixMilli(), Epoch: r.LeaderEpoch,
		})
	}
	return op
}

// asker is a client that asks the broker by hand, one request at a time, and knows exactly when.
type asker struct {
	c         *crowd
	cl        *kgo.Client
	book      *history.Client // nil if it is not to be noted
	committed bool            // it fetches only what is committed
	next      int64           // behind all that the last fetch brought, whatever it was
}

func (c *crowd) asker() *asker { return &asker{c: c, cl: c.b.client(c.b.t)} }

// errNotAnswered is what an asker returns if an answer says no more than that it failed.
var errNotAnswered = errors.New("not answered")

// request asks once.
func (a *asker) request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return a.cl.SeedBrokers()[0].Request(ctx, req)
}

// isolation is how it asks for what is committed only, or for all.
func isolation(committed bool) int8 {
	if committed {
		return 1
	}
	return 0
}

// list asks for an offset, by a timestamp or -1 or -2.
func (a *asker) list(ctx context.Context, kind history.Kind, topic crowdTopic, p int32, timestamp int64) (int64, error) {
	return a.listAs(ctx, kind, topic, p, timestamp, false)
}

// listAs is list of what is committed only, or of all.
func (a *asker) listAs(ctx context.Context, kind history.Kind, topic crowdTopic, p int32, timestamp int64, committed bool) (int64, error) {
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp, part.CurrentLeaderEpoch = p, timestamp, -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic, t.Partitions = topic.name, append(t.Partitions, part)
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel, req.Topics = -1, isolation(committed), append(req.Topics, t)
	op := history.Op{Kind: kind, Committed: committed, Partition: a.c.partition(topic, p), Invoke: a.c.rec.Now(), Offset: history.Nowhere, Time: timestamp, Epoch: history.Nowhere}
	resp, err := a.request(ctx, req)
	if err != nil {
		return 0, err
	}
	got := resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return 0, fmt.Errorf("list offsets of %s-%d: %w", topic.name, p, err)
	}
	op.Outcome, op.Offset = history.OK, got.Offset
	if kind == history.Latest {
		op.Epoch = got.LeaderEpoch
	}
	if a.book != nil {
		a.book.Add(op)
	}
	return got.Offset, nil
}

func (a *asker) latest(ctx context.Context, topic crowdTopic, p int32) (int64, error) {
	return a.list(ctx, history.Latest, topic, p, -1)
}

// stable asks for the last stable offset.
func (a *asker) stable(ctx context.Context, topic crowdTopic, p int32) (int64, error) {
	return a.listAs(ctx, history.Latest, topic, p, -1, true)
}

func (a *asker) earliest(ctx context.Context, topic crowdTopic, p int32) (int64, error) {
	return a.list(ctx, history.Earliest, topic, p, -2)
}

// patiently asks until there is an answer.
func (a *asker) patiently(ctx context.Context, ask func(context.Context, crowdTopic, int32) (int64, error), topic crowdTopic, p int32) (int64, error) {
	for {
		offset, err := ask(ctx, topic, p)
		if err == nil || ctx.Err() != nil {
			return offset, err
		}
		pass(ctx.Done(), 20*time.Millisecond)
	}
}

// fetch reads once from an offset on, no more bytes than that but at least a batch. What it returns is in the history.
func (a *asker) fetch(ctx context.Context, topic crowdTopic, p int32, from int64, bytes int32, wait time.Duration) (history.Op, error) {
	req := fetchRequest(17, wait, 1, wanted{topic.name, topic.id, p, from})
	req.Topics[0].Partitions[0].PartitionMaxBytes, req.IsolationLevel = bytes, isolation(a.committed)
	op := history.Op{
		Kind: history.Poll, Outcome: history.Failed, Partition: a.c.partition(topic, p), Invoke: a.c.rec.Now(), Committed: a.committed,
		Offset: from, HighWatermark: history.Nowhere, LastStable: history.Nowhere, LogStart: history.Nowhere,
	}
	defer func() {
		if a.book != nil {
			a.book.Add(op)
		}
	}()
	a.next = from
	resp, err := a.request(ctx, req)
	if err != nil {
		return op, err
	}
	got := fetched(resp.(*kmsg.FetchResponse), wanted{topic.name, topic.id, p, from})
	if got == nil {
		return op, fmt.Errorf("fetch from %s-%d: %w", topic.name, p, errNotAnswered)
	}
	switch err := kerr.ErrorForCode(got.ErrorCode); {
	case err == kerr.OffsetOutOfRange:
		op.Outcome = history.OutOfRange
	case err != nil:
		return op, fmt.Errorf("fetch from %s-%d: %w", topic.name, p, err)
	default:
		op.Outcome = history.OK
	}
	op.HighWatermark, op.LastStable, op.LogStart = got.HighWatermark, got.LastStableOffset, got.LogStartOffset
	undone := undone{aborted: got.AbortedTransactions, open: map[int64]bool{}}
	for data := got.RecordBatches; len(data) > 0; {
		batch, rest, err := record.Parse(data)
		if err == nil {
			err = batch.Verify()
		}
		if err != nil {
			a.c.complain("fetch from %s-%d at %d: %v", topic.name, p, from, err)
			return op, err
		}
		data, a.next = rest, int64(batch.NextOffset())
		if undone.skips(batch) {
			continue
		}
		for r, err := range batch.Records(a.c.codec) {
			if err != nil {
				a.c.complain("fetch from %s-%d at %d: %v", topic.name, p, from, err)
				return op, err
			}
			if int64(r.Offset) >= from {
				op.Records = append(op.Records, history.Record{
					Offset: int64(r.Offset), Value: a.c.noise.valueOf(r.Value), Time: r.Timestamp, Epoch: batch.LeaderEpoch(),
				})
			}
		}
	}
	return op, nil
}

// wander has a consumer read here and there in a topic: at its start, its end, anywhere, and where there is nothing.
func (c *crowd) wander(g *group, topic crowdTopic) { c.wanderAs(g, topic, false) }

// wanderCommitted is wander by one that wants only what is committed.
func (c *crowd) wanderCommitted(g *group, topic crowdTopic) { c.wanderAs(g, topic, true) }

func (c *crowd) wanderAs(g *group, topic crowdTopic, committed bool) {
	a, rng := c.asker(), c.random()
	a.committed = committed
	a.book = c.rec.Client("wanders in "+topic.name, 0)
	g.wait.Go(func() {
		defer a.cl.Close()
		ctx, cancel := g.context()
		defer cancel()
		for pass(g.stop, time.Duration(rng.IntN(20))*time.Millisecond) {
			p := rng.Int32N(topic.partitions)
			start, err := a.earliest(ctx, topic, p)
			if err != nil {
				continue
			}
			end, err := a.latest(ctx, topic, p)
			if err != nil {
				continue
			}
			at := start
			switch rng.IntN(5) {
			case 0:
				at = end
			case 1:
				at = end + 1 + rng.Int64N(5)
			case 2, 3:
				at = max(0, start-3+rng.Int64N(end-start+6))
			}
			for n := 1 + rng.IntN(4); n > 0; n-- {
				op, err := a.fetch(ctx, topic, p, at, int32(rng.IntN(100_000)), 0)
				if err != nil || op.Outcome != history.OK || a.next == at {
					break
				}
				at = a.next
			}
		}
	})
}

// survey has a client ask for the bounds of a topic's partitions, and for offsets by time.
func (c *crowd) survey(g *group, topic crowdTopic) {
	a, rng := c.asker(), c.random()
	a.book = c.rec.Client("surveys "+topic.name, 0)
	begun := time.Now()
	g.wait.Go(func() {
		defer a.cl.Close()
		ctx, cancel := g.context()
		defer cancel()
		for pass(g.stop, time.Duration(rng.IntN(20))*time.Millisecond) {
			p := rng.Int32N(topic.partitions)
			switch rng.IntN(4) {
			case 0:
				_, _ = a.earliest(ctx, topic, p) // the broker may be away
			case 1:
				_, _ = a.latest(ctx, topic, p)
			case 2:
				_, _ = a.stable(ctx, topic, p)
			case 3:
				since := begun.UnixMilli() + rng.Int64N(time.Since(begun).Milliseconds()+1)
				_, _ = a.list(ctx, history.ForTime, topic, p, since)
			}
		}
	})
}

// drain reads all that a topic has, while nobody writes, and returns where its partitions end.
func (c *crowd) drain(ctx context.Context, topic crowdTopic) (ends []int64, err error) {
	return c.drainAs(ctx, topic, false)
}

// drainAs is drain by one that may want only what is committed, and then waits until nothing is open any more.
func (c *crowd) drainAs(ctx context.Context, topic crowdTopic, committed bool) (ends []int64, err error) {
	a := c.asker()
	defer a.cl.Close()
	a.book, a.committed = c.rec.Client("drains "+topic.name, 0), committed
	for p := range topic.partitions {
		op := a.book.Begin(history.Op{Kind: history.Drain, Partition: c.partition(topic, p), Committed: committed})
		at, err := a.patiently(ctx, a.earliest, topic, p)
		if err != nil {
			return nil, fmt.Errorf("drain %s-%d: %w", topic.name, p, err)
		}
		for more := true; more; {
			got, err := a.fetch(ctx, topic, p, at, 4<<20, 0)
			switch {
			case ctx.Err() != nil:
				return nil, fmt.Errorf("drain %s-%d at %d: %w", topic.name, p, at, errors.Join(err, ctx.Err()))
			case got.Outcome == history.OutOfRange: // retention has gone on
				if at, err = a.patiently(ctx, a.earliest, topic, p); err != nil {
					return nil, err
				}
				continue
			case err != nil:
				pass(ctx.Done(), 20*time.Millisecond)
				continue
			}
			more = a.next > at && a.next < got.HighWatermark
			at = a.next
			if committed && got.LastStable < got.HighWatermark {
				more = true
				pass(ctx.Done(), 20*time.Millisecond)
			}
		}
		op.End(history.OK, at)
		ends = append(ends, at)
	}
	return ends, nil
}
