package group

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"segue/internal/coordinator"
)

// start is when time begins in tests.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func testOptions() Options {
	return Options{
		MinSession: 6 * time.Second, MaxSession: 30 * time.Minute, MaxSize: 1000,
		OffsetsRetention: 7 * 24 * time.Hour, OffsetsCheckInterval: 10 * time.Minute,
		MaxOffsetMetadata: 4096, MaxRecordBytes: func() int { return 1 << 20 },
	}
}

// world is a machine with the log it writes and a clock. After every command it checks what must always hold:
//
//   - The durable part of the machine equals that of a machine that has replayed its log, and of one that has replayed
//     the log after compaction.
//   - Its offsets, and those that transactions have yet to decide about, are those that the log means (reference).
//   - No request is answered twice, or after its machine is gone.
//   - The parts of the machine that say the same thing twice agree.
//
// What replay does not bring back, by design (the package comment says why): timers; waiting requests; ids that were
// handed out (pending); fresh, joining, unsynced, initial, more, remaining; the state of a group that is rebalancing,
// which replay finds as it was when it last was Stable or Empty; protocols that were offered but not chosen; and groups
// made by commits alone that have lost their last offset, which a live machine keeps until the next sweep.
type world struct {
	t     testing.TB
	opts  Options
	m     *Machine
	now   time.Time
	ref   *reference        // the log, and what it means
	fold  *Machine          // has replayed the log, record by record as it grows
	saved map[string]string // what each group was when its last record was written

	ids      int               // member ids made
	token    coordinator.Token // the newest
	waiting  map[coordinator.Token]time.Time
	next     time.Time // the machine's deadline
	reasons  []string  // of rebalances, since last taken
	compared int       // records that the log had when it was last compared after compaction
}

func newWorld(t testing.TB, o Options) *world {
	w := &world{
		t: t, now: start, ref: newReference(), saved: map[string]string{}, waiting: map[coordinator.Token]time.Time{},
	}
	o.MemberID = func(prefix string) string { w.ids++; return fmt.Sprintf("%s-%d", prefix, w.ids) }
	o.Rebalancing = func(r Rebalance) {
		w.reasons = append(w.reasons, fmt.Sprintf("%s leaves generation %d with %d members: %s", r.Group, r.Generation, r.Members, r.Reason))
	}
	w.opts = o
	w.fold = New(o)
	w.m = New(o)
	w.took(w.m.Loaded(w.now))
	return w
}

// do hands the machine a command.
func (w *world) do(in Input) (coordinator.Token, coordinator.Effects) {
	w.token++
	w.waiting[w.token] = w.now
	t := w.token
	fx := w.m.Handle(w.now, t, in)
	w.took(fx)
	return t, fx
}

// decide has a producer's transaction end: its marker is written, and the machine is told.
func (w *world) decide(producer int64, commit bool) {
	w.t.Helper()
	by := coordinator.Producer{ID: producer}
	fx := w.m.Decide(w.now, by, commit)
	if len(fx.Records)+len(fx.Replies)+len(fx.Sends) > 0 { // which a replay would not see again
		w.t.Fatalf("the end of a transaction has led to %+v", fx)
	}
	w.fold.Decide(w.now, by, commit)
	w.ref.decide(producer, commit)
	w.took(fx)
}

// expire lets the machine do what is due.
func (w *world) expire() coordinator.Effects {
	fx := w.m.Expire(w.now)
	w.took(fx)
	return fx
}

// advance lets time pass, and calls the machine whenever it wants to be. each sees what comes of it.
func (w *world) advance(d time.Duration, each func(coordinator.Effects)) {
	until := w.now.Add(d)
	idle := 0
	for !w.next.IsZero() && !w.next.After(until) {
		before := w.now
		if w.next.After(w.now) {
			w.now = w.next
		}
		fx := w.expire()
		each(fx)
		if idle++; w.now.After(before) || len(fx.Records)+len(fx.Replies) > 0 {
			idle = 0
		}
		if idle > 20 {
			w.t.Fatalf("at %v the machine asks again and again to be called, and does nothing", w.now.Sub(start))
		}
	}
	w.now = until
}

// took takes in the effects of a command and checks everything.
func (w *world) took(fx coordinator.Effects) {
	w.t.Helper()
	for _, r := range fx.Replies {
		if _, ok := w.waiting[r.To]; !ok {
			w.t.Fatalf("request #%d is answered and does not wait: %v", r.To, r.Message)
		}
		delete(w.waiting, r.To)
	}
	written := map[string]bool{}
	producer := int64(noProducer)
	if fx.Producer != nil {
		producer = fx.Producer.ID
	}
	for _, rec := range fx.Records {
		w.ref.write(coordinator.Record{Key: bytes.Clone(rec.Key), Value: bytes.Clone(rec.Value)}, producer)
		if err := applyEntry(w.fold, entry{rec: rec, producer: producer}); err != nil {
			w.t.Fatalf("a record that was written cannot be replayed: %v", err)
		}
		key := coordinator.Reader{Left: rec.Key}
		if key.Int16() == groupMetadataType {
			written[key.String()] = true
		}
	}
	w.next = fx.Deadline
	for id := range written {
		if g := w.m.groups[id]; g == nil {
			delete(w.saved, id)
		} else if quiet(g) {
			w.saved[id] = saidOf(g)
		} else { // a new group is written before its first member comes in
			w.saved[id] = saidOf(w.fold.groups[id])
		}
	}
	w.check()
}

// reload throws the machine away, as after a crash or a failed append, and replays the log.
func (w *world) reload(compacted bool) coordinator.Effects {
	log := w.ref.log
	if compacted {
		log = w.ref.compacted()
	}
	w.m = w.replay(log)
	clear(w.waiting)
	fx := w.m.Loaded(w.now)
	w.took(fx)
	return fx
}

func (w *world) replay(log []entry) *Machine {
	m := New(w.opts)
	for _, e := range log {
		if err := applyEntry(m, e); err != nil {
			w.t.Fatalf("replay: %v", err)
		}
	}
	return m
}

// applyEntry has a machine replay an entry of a log.
func applyEntry(m *Machine, e entry) error {
	switch {
	case e.marker:
		m.Decide(start, coordinator.Producer{ID: e.producer}, e.commit)
		return nil
	case e.producer != noProducer:
		return m.ApplyPending(coordinator.Producer{ID: e.producer}, e.rec)
	}
	return m.Apply(e.rec)
}

// quiet says whether a group is what its record says.
func quiet(g *group) bool { return g.state == Stable || g.state == Empty }

// saidOf is all that the record of a group says of it.
func saidOf(g *group) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s type=%q generation=%d protocol=%q leader=%q topics=%q/%v",
		g.kind, g.state, g.protocolType, g.generation, g.protocol, g.leader, g.topics, g.known)
	if !madeByCommits(g) {
		fmt.Fprintf(&b, " since=%d", g.since)
	}
	for _, mb := range g.members {
		fmt.Fprintf(&b, "\n  %s instance=%q/%v client=%q host=%q session=%d rebalance=%d metadata=%q assignment=%q", mb.id,
			mb.instance, mb.static, mb.clientID, mb.host, mb.sessionMillis, mb.rebalanceMillis, mb.metadata(g.protocol), mb.assignment)
	}
	return b.String()
}

func madeByCommits(g *group) bool {
	return g.since == noTime && g.generation == 0 && g.protocolType == ""
}

func sameOffsets(a, b *group) bool {
	same := func(a, b *committed) bool { return a == b || a != nil && b != nil && *a == *b }
	return maps.EqualFunc(a.offsets, b.offsets, func(a, b topicOffsets) bool {
		return maps.EqualFunc(a, b, same)
	}) && maps.EqualFunc(a.undecided, b.undecided, func(a, b topicPending) bool {
		return maps.EqualFunc(a, b, func(a, b []pendingOffset) bool {
			return slices.EqualFunc(a, b, func(a, b pendingOffset) bool { return a.producer == b.producer && same(a.c, b.c) })
		})
	})
}

// offsetsOf are all offsets of a group.
func offsetsOf(g *group) string {
	var b strings.Builder
	for _, topic := range sortedKeys(g.offsets) {
		for _, p := range sortedKeys(g.offsets[topic]) {
			fmt.Fprintf(&b, "\n  %s/%d=%+v", topic, p, *g.offset(topic, p))
		}
	}
	for _, topic := range sortedKeys(g.undecided) {
		for _, p := range sortedKeys(g.undecided[topic]) {
			for _, o := range g.undecided[topic][p] {
				fmt.Fprintf(&b, "\n  %s/%d=%+v pending of producer %d", topic, p, o.c, o.producer)
			}
		}
	}
	return b.String()
}

// check fails the test when something does not hold that always must.
func (w *world) check() {
	w.t.Helper()
	w.compare("replay", w.fold)
	if len(w.ref.log) > w.compared { // else neither changed
		w.compared = len(w.ref.log)
		w.compare("replay after compaction", w.replay(w.ref.compacted()))
	}
	if err := w.ref.holds(w.m); err != nil {
		w.t.Fatal(err)
	}
	timers := map[*timer]bool{}
	for t := range w.m.Timers.All() {
		timers[t] = true
	}
	for id, g := range w.m.groups {
		if err := g.consistent(timers); err != nil {
			w.t.Fatalf("group %q (%s): %v", id, g.state, err)
		}
	}
	for t := range timers {
		if t.Owner() != &w.m.expiry {
			w.t.Fatalf("a timer of a %T (%+v) is set whose owner is gone", t.Owner(), t.Owner())
		}
	}
}

// compare compares the durable part of the machine with another's.
func (w *world) compare(what string, other *Machine) {
	w.t.Helper()
	ids := append(w.m.groupIDs(), other.groupIDs()...)
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		live, dead := groupOr(w.m, id), groupOr(other, id)
		if !sameOffsets(live, dead) {
			w.t.Fatalf("%s of group %q gives other offsets:\nlive:%s\nreplayed:%s", what, id, offsetsOf(live), offsetsOf(dead))
		}
		want, ok := w.saved[id]
		if !ok {
			want = saidOf(groupOr(New(w.opts), id))
		}
		if d := saidOf(dead); d != want {
			w.t.Fatalf("%s of group %q gives another group:\nwritten: %s\nreplayed: %s", what, id, want, d)
		}
		if l := saidOf(live); quiet(live) && l != want {
			w.t.Fatalf("group %q is not what was last written of it:\nlive: %s\nwritten: %s", id, l, want)
		}
	}
}

// groupOr returns a group, or one that was made by commits and has lost them all.
func groupOr(m *Machine, id string) *group {
	if g := m.groups[id]; g != nil {
		return g
	}
	return &group{id: id, since: noTime}
}

// consistent says what in a group contradicts itself. It takes the group's timers out of those that are set.
func (g *group) consistent(set map[*timer]bool) error {
	joining, unsynced, metadata := 0, 0, 0
	votes := map[string]int{}
	for i, mb := range g.members {
		switch {
		case mb.group != g, i > 0 && g.members[i-1].id >= mb.id:
			return fmt.Errorf("member %s is out of its place", mb.id)
		case mb.static && g.instances[mb.instance] != mb:
			return fmt.Errorf("member %s is not the holder of instance %s", mb.id, mb.instance)
		case !mb.join.waits && !mb.sync.waits && !mb.timer.IsSet():
			return fmt.Errorf("member %s waits for nothing and has no session", mb.id)
		case mb.join.waits && g.state != PreparingRebalance, mb.sync.waits && g.state != CompletingRebalance:
			return fmt.Errorf("member %s waits for what does not come", mb.id)
		case mb.protocolType != g.protocolType:
			return fmt.Errorf("member %s has protocol type %q", mb.id, mb.protocolType)
		}
		delete(set, &mb.timer)
		if mb.join.waits {
			joining++
		}
		if mb.unsynced {
			unsynced++
		}
		for _, p := range mb.protocols {
			votes[p.name]++
			metadata += len(p.metadata)
		}
	}
	for _, p := range g.pending {
		if !p.timer.IsSet() {
			return fmt.Errorf("pending member %s has no timer", p.id)
		}
		delete(set, &p.timer)
	}
	delete(set, &g.timer)
	var errs []error
	claim := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	common := len(g.members) == 0
	for _, v := range g.offered {
		claim(votes[v.name] == v.members, "protocol %s has %d votes and %d members", v.name, v.members, votes[v.name])
		common = common || v.members == len(g.members)
	}
	claim(len(votes) == len(g.offered), "votes for %d protocols of %d", len(g.offered), len(votes))
	claim(common, "no protocol is common to all members")
	claim(metadata == g.metadata, "metadata of %d bytes counted as %d", metadata, g.metadata)
	claim(joining == g.joining, "%d members are joining and %d counted", joining, g.joining)
	claim(unsynced == g.unsynced, "%d members have not synced and %d are counted", unsynced, g.unsynced)
	statics := 0
	for _, mb := range g.members {
		if mb.static {
			statics++
		}
	}
	claim(statics == len(g.instances), "%d static members and %d instances", statics, len(g.instances))
	claim((g.leader == "") == (len(g.members) == 0) && (g.leader == "" || g.member(g.leader) != nil), "leader %q is no member", g.leader)
	claim(g.timer.IsSet() == (g.state == PreparingRebalance || g.unsynced > 0), "the rebalance's timer is set: %v", g.timer.IsSet())
	claim(g.state != Empty || len(g.members) == 0, "it has members")
	claim(len(g.members) > 0 || g.state == Empty || g.state == PreparingRebalance, "it has no members")
	claim(g.offsets == nil || len(g.offsets) > 0, "it keeps an empty map of offsets")
	claim(g.undecided == nil || len(g.undecided) > 0, "it keeps an empty map of pending offsets")
	return errors.Join(errs...)
}
