//go:build integration && unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

// TestGroupOf500: so many members that come at once are one stable group after some rounds of heartbeats, and are one yet
// after a kill.
func TestGroupOf500(t *testing.T) {
	const (
		members   = 500
		heartbeat = time.Second // clients send one every three seconds by default
		bound     = 30 * time.Second
	)
	b := start(t)
	seats := b.seats(t, members, "crowd")
	ctx, cancel := context.WithCancel(t.Context())
	begun := time.Now()
	var running sync.WaitGroup
	for i, s := range seats {
		running.Go(func() {
			if err := s.keep(ctx, heartbeat); err != nil {
				t.Errorf("member %d: %v", i, err)
			}
		})
	}
	settled := holdsWithin(2*bound, func() bool {
		had := map[string]bool{}
		first, _ := seats[0].standing()
		for _, s := range seats {
			generation, assignment := s.standing()
			if generation != first || assignment == "" || had[assignment] || t.Failed() {
				return t.Failed()
			}
			had[assignment] = true
		}
		return true
	})
	took := time.Since(begun)
	generation, _ := seats[0].standing()
	t.Logf("%d members with heartbeats every %v are one stable group after %v, in generation %d", members, heartbeat, took.Round(time.Millisecond), generation)
	if !settled || took > bound {
		t.Errorf("it took %v, want no longer than %v", took, bound)
	}
	cancel()
	running.Wait()

	described := func() (int, string, string) {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Version, req.Groups = 5, []string{"crowd"}
		g := ask[*kmsg.DescribeGroupsResponse](b.dial(t), req).Groups[0]
		expectCode(t, "describe", g.ErrorCode, nil)
		return len(g.Members), g.State, g.Protocol
	}
	expect := func(when string) {
		t.Helper()
		if n, state, protocol := described(); n != members || state != "Stable" || protocol != "range" {
			t.Errorf("%s: %d members, %s, %s; want %d, Stable, range", when, n, state, protocol, members)
		}
	}
	expect("before the kill")
	b.crash()
	b.awaitGroups(t)
	expect("after the kill")
	for i, s := range seats {
		s.w = b.dial(t)
		if err := s.heartbeat(); err != nil {
			t.Fatalf("member %d after the kill: %v", i, err)
		}
	}
}

// TestThousandGroups: groups with a member and an offset each, all at once; all of them are there after a kill.
func TestThousandGroups(t *testing.T) {
	const (
		groups  = 1000
		workers = 20
		bound   = 60 * time.Second
	)
	b := start(t)
	b.createTopic(t, "t", 1)
	b.awaitGroups(t)
	seats := make([]*seat, groups)
	name := func(i int) string { return fmt.Sprintf("group-%04d", i) }
	each := func(do func(i int, s *seat) error) time.Duration {
		t.Helper()
		var all errgroup.Group
		begun := time.Now()
		for n := range workers {
			w := b.dial(t)
			all.Go(func() error {
				for i := n; i < groups; i += workers {
					if seats[i] == nil {
						seats[i] = &seat{group: name(i)}
					}
					seats[i].w = w
					if err := do(i, seats[i]); err != nil {
						return fmt.Errorf("group %d: %w", i, err)
					}
				}
				return nil
			})
		}
		if err := all.Wait(); err != nil {
			t.Fatal(err)
		}
		return time.Since(begun)
	}
	expect := func(_ int, s *seat) error {
		offset, metadata, err := s.w.committed(s.group, "t", 0)
		if err == nil && (offset != 7 || metadata != s.id) {
			err = fmt.Errorf("committed: %d, %q; want 7, %q", offset, metadata, s.id)
		}
		return errors.Join(err, s.heartbeat())
	}
	took := each(func(_ int, s *seat) error {
		return errors.Join(s.take(), s.w.commit(s.group, s.id, s.generation, "t", 0, 7, s.id))
	})
	t.Logf("%d groups join, sync and commit in %v, %d at a time", groups, took.Round(time.Millisecond), workers)
	if took > bound {
		t.Errorf("it took %v, want no longer than %v", took, bound)
	}
	each(expect)
	started := b.crash() + elapsed(func() { b.awaitGroups(t) })
	took = each(expect)
	t.Logf("after a kill all are loaded after %v, and all offsets and heartbeats %v", started.Round(time.Millisecond), took.Round(time.Millisecond))

	w := b.dial(t)
	list := kmsg.NewPtrListGroupsRequest()
	list.Version, list.StatesFilter = 4, []string{"Stable"}
	if listed := ask[*kmsg.ListGroupsResponse](w, list); len(listed.Groups) != groups || listed.ErrorCode != 0 {
		t.Errorf("%d stable groups are listed, %v; want %d", len(listed.Groups), kerr.ErrorForCode(listed.ErrorCode), groups)
	}
	describe, drop := kmsg.NewPtrDescribeGroupsRequest(), kmsg.NewPtrDeleteGroupsRequest()
	describe.Version, drop.Version = 5, 2
	for i := range groups {
		describe.Groups, drop.Groups = append(describe.Groups, name(i)), append(drop.Groups, name(i))
	}
	for _, g := range ask[*kmsg.DescribeGroupsResponse](w, describe).Groups {
		if g.ErrorCode != 0 || g.State != "Stable" || len(g.Members) != 1 {
			t.Errorf("group %s: %v, %s, %d members", g.Group, kerr.ErrorForCode(g.ErrorCode), g.State, len(g.Members))
		}
	}
	each(func(_ int, s *seat) error { return s.leave() })
	for _, g := range ask[*kmsg.DeleteGroupsResponse](w, drop).Groups {
		expectCode(t, "delete "+g.Group, g.ErrorCode, nil)
	}
	list.StatesFilter = nil
	b.crash()
	b.awaitGroups(t)
	if listed := ask[*kmsg.ListGroupsResponse](b.dial(t), list); len(listed.Groups) != 0 {
		t.Errorf("%d groups are listed after all were deleted, and a kill", len(listed.Groups))
	}
}
