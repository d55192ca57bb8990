//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

const (
	committers  = 100 // groups that commit, one request of each in flight
	commitTime  = 10 * time.Second
	manyMembers = 500 // of one group
	manyGroups  = 10_000
	topicName   = "bench"
	topicParts  = 50
)

// groupBroker starts a broker that has the topic and its groups' topic.
func (s stage) groupBroker(ctx context.Context) (*broker, error) {
	b, err := s.start(ctx)
	if err != nil {
		return nil, err
	}
	w, err := dial(b.Addr)
	if err != nil {
		return nil, errors.Join(err, b.Stop())
	}
	defer w.close()
	if err := errors.Join(w.createTopic(topicName, topicParts, nil), w.awaitCoordinator("any")); err != nil {
		return nil, errors.Join(err, b.Stop())
	}
	return b, nil
}

func (w *wire) createTopic(name string, partitions int32, configs map[string]string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 5, 30_000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	for k, v := range configs {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, kmsg.StringPtr(v)
		t.Configs = append(t.Configs, c)
	}
	req.Topics = append(req.Topics, t)
	resp, err := ask[*kmsg.CreateTopicsResponse](w, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
}

// awaitCoordinator has the coordinator made, and waits until it has a group's shard loaded.
func (w *wire) awaitCoordinator(group string) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.Version, find.CoordinatorKeys = 4, []string{group}
		found, err := ask[*kmsg.FindCoordinatorResponse](w, find)
		if err != nil {
			return err
		}
		err = kerr.ErrorForCode(found.Coordinators[0].ErrorCode)
		if err == nil {
			fetch := kmsg.NewPtrOffsetFetchRequest()
			fetch.Version, fetch.Group = 7, group
			resp, failed := ask[*kmsg.OffsetFetchResponse](w, fetch)
			if failed != nil {
				return failed
			}
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err == nil || !kerr.IsRetriable(err) || time.Now().After(deadline) {
			return err
		}
	}
}

// commitRequest is a commit of one offset by nobody in particular of a group, or by a member.
func commitRequest(group, member string, generation int32, partition int32) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation, req.MemberID = 8, group, generation, member
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topicName
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, 1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// commit sends a commit that was encoded before and looks for an error in the answer.
func (w *wire) commit(frame []byte) error {
	body, err := w.exchange(frame)
	if err != nil {
		return err
	}
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Version = 8
	if err := resp.ReadFrom(body[5:]); err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// measureCommits has many groups commit at default durability, one request of each in flight.
func measureCommits(ctx context.Context, s stage, t *table) (err error) {
	b, err := s.groupBroker(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	got, err := b.repeat(ctx, committers, commitTime, func(i int) (func() error, func(), error) {
		w, err := dial(b.Addr)
		if err != nil {
			return nil, nil, err
		}
		frame := encode(commitRequest(fmt.Sprintf("group-%d", i), "", -1, int32(i%topicParts)))
		return func() error { return w.commit(frame) }, w.close, nil
	})
	if err != nil {
		return err
	}
	got.tell(t, fmt.Sprintf("offset commits from %d groups, one in flight each", committers), 10_000)
	return nil
}

// measureMembers has many members join a group at once, and one more when it is stable.
func measureMembers(ctx context.Context, s stage, t *table) (err error) {
	b, err := s.groupBroker(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	members := make([]*member, manyMembers)
	for i := range members {
		if members[i], err = newMember(b.Addr, "crowd"); err != nil {
			return err
		}
		defer members[i].wire.close()
	}
	cpu, begun := b.cpu(), time.Now()
	if err := settle(ctx, members); err != nil {
		return err
	}
	t.atMost(fmt.Sprintf("a group of %d members is stable after", manyMembers), time.Since(begun).Seconds(), 5, "s")
	t.tell("  the same: the broker's CPU", b.cpu()-cpu, "s")

	late, err := newMember(b.Addr, "crowd")
	if err != nil {
		return err
	}
	defer late.wire.close()
	begun = time.Now()
	if err := settle(ctx, append(members, late)); err != nil {
		return err
	}
	t.tell("  and again, after one more has joined", time.Since(begun).Seconds(), "s")
	return nil
}

// measureGroups looks at the memory of many groups with a member, a subscription and an offset each.
func measureGroups(ctx context.Context, s stage, t *table) (err error) {
	b, err := s.groupBroker(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	before, cpu, begun := b.memory(), b.cpu(), time.Now()
	const workers = 50
	var all errgroup.Group
	for first := range workers {
		all.Go(func() error {
			m, err := newMember(b.Addr, "")
			if err != nil {
				return err
			}
			defer m.wire.close()
			for i := first; i < manyGroups && ctx.Err() == nil; i += workers {
				m.group, m.id = fmt.Sprintf("group-%d", i), ""
				if err := settle(ctx, []*member{m}); err != nil {
					return err
				}
				frame := encode(commitRequest(m.group, m.id, m.generation, int32(i%topicParts)))
				if err := m.wire.commit(frame); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	what := fmt.Sprintf("%d groups with a member and an offset: ", manyGroups)
	t.tell(what+"memory", b.memory()-before, "MiB")
	t.tell("  the same: made in", time.Since(begun).Seconds(), "s")
	t.tell("  the same: the broker's CPU", (b.cpu()-cpu)/manyGroups*1e6, "µs each")
	return nil
}
