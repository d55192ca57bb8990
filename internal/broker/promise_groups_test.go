package broker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
)

// groupPromise: an offset that was committed is there until another one is, never one before it; a group of which a
// member was told that it is in a generation stays in that one, with that member, until a later one is asked for; and
// offsets of topics that are gone go, too.
type groupPromise struct {
	offsets map[committedAt]*toldOffset
	members map[string]*toldMember // by group
}

// committedAt is what a group commits an offset for. Each group has one user, so its commits come one after the other.
type committedAt struct {
	group string
	place
}

// toldOffset is what a user knows of a committed offset. It is replaced, never changed, and so are its slices.
type toldOffset struct {
	topic topic
	told  int64   // -1 for none
	asked []int64 // after it, and not answered; each is asked for once in all
}

// toldMember is what the only member of a group knows of it.
type toldMember struct {
	id    string  // empty before the first answer
	told  int32   // the generation that the answer to SyncGroup was about; 0 for none
	asked []int32 // generations after it that JoinGroup told of
}

func newGroupPromise() *groupPromise {
	return &groupPromise{map[committedAt]*toldOffset{}, map[string]*toldMember{}}
}

func (p *groupPromise) copy() *groupPromise {
	return &groupPromise{maps.Clone(p.offsets), maps.Clone(p.members)}
}

// forget drops what is known of a topic that is gone.
func (p *groupPromise) forget(id [16]byte) {
	maps.DeleteFunc(p.offsets, func(at committedAt, _ *toldOffset) bool { return at.topic == id })
}

// committing notes a commit that is about to be asked for.
func (p *groupPromise) committing(at committedAt, t topic, offset int64) {
	was := p.offsets[at]
	if was == nil {
		was = &toldOffset{topic: t, told: -1}
	}
	p.offsets[at] = &toldOffset{t, was.told, append(slices.Clip(was.asked), offset)}
}

// committed notes that the last commit that was asked for was answered.
func (p *groupPromise) committed(at committedAt, offset int64) {
	if was := p.offsets[at]; was != nil { // else the topic is gone
		p.offsets[at] = &toldOffset{topic: was.topic, told: offset}
	}
}

// audit asks without the ledger's lock, as what the coordinator writes meanwhile may be a crash point.
func (p *groupPromise) audit(a *audit) {
	unlock := a.lock()
	was := p.copy()
	unlock()
	is := newGroupPromise()
	for at, told := range was.offsets {
		if _, there := a.topics[at.topic]; there {
			is.offsets[at] = told.audit(a, at)
		}
	}
	auditOffsetsOfGone(a, is)
	for group, m := range was.members {
		is.members[group] = m.audit(a, group)
	}
	defer a.lock()()
	*p = *is
}

// audit holds a committed offset against what was told and returns what is known of it from now on.
func (o *toldOffset) audit(a *audit, at committedAt) *toldOffset {
	offset, err := fetchOffset(a.wire, at)
	switch {
	case err != nil:
		a.violated("the offset of group %s for %s cannot be fetched: %w", at.group, at.place, err)
		return o
	case offset != o.told && !slices.Contains(o.asked, offset) && !a.weak:
		a.violated("group %s has committed %d for %s, told were %d and asked for %v", at.group, offset, at.place, o.told, o.asked)
	}
	return &toldOffset{topic: o.topic, told: offset}
}

// auditOffsetsOfGone checks that no group has offsets of topics that are gone. They go soon, and not at once.
func auditOffsetsOfGone(a *audit, p *groupPromise) {
	groups := map[string]bool{}
	for at := range p.offsets {
		groups[at.group] = true
	}
	names := map[string]bool{}
	for _, t := range a.topics {
		names[t.name] = true
	}
	for group := range groups {
		err := untilLoaded(func() (error, bool) {
			all, err := fetchOffsets(a.wire, group, nil)
			if err != nil {
				return err, isLoading(err)
			}
			for _, t := range all {
				if !names[t.Topic] {
					return fmt.Errorf("group %s has offsets of topic %s, which is gone", group, t.Topic), true
				}
			}
			return nil, false
		})
		if err != nil {
			a.violated("%w", err)
		}
	}
}

// audit holds a group against what its member knows and returns what that is from now on.
func (m *toldMember) audit(a *audit, group string) *toldMember {
	if m.id == "" {
		return m
	}
	fresh := &toldMember{id: m.id}
	for _, generation := range append([]int32{m.told}, m.asked...) {
		if generation == 0 {
			continue
		}
		err := untilLoaded(func() (error, bool) {
			err := heartbeat(a.wire, group, m.id, generation)
			return err, isLoading(err)
		})
		switch err {
		case nil:
			fresh.told = generation
		case kerr.IllegalGeneration, kerr.UnknownMemberID:
		default:
			a.violated("heartbeat of the member of group %s: %w", group, err)
		}
	}
	switch {
	case fresh.told != 0:
	case a.weak || m.told == 0: // what was asked for did not come to be; the member may be there all the same
	default:
		a.violated("group %s does not know the member that was told of generation %d (and asked for %v after that)", group, m.told, m.asked)
	}
	return fresh
}

func isLoading(err error) bool {
	return errors.Is(err, kerr.CoordinatorLoadInProgress)
}

// untilLoaded calls f until it has no reason to be called again.
func untilLoaded(f func() (err error, again bool)) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		if err, again := f(); !again || time.Now().After(end) {
			return err
		}
	}
}

// fetchOffset returns a committed offset; -1 for none.
func fetchOffset(w *wire, at committedAt) (offset int64, err error) {
	err = untilLoaded(func() (error, bool) {
		topics, err := fetchOffsets(w, at.group, []kmsg.OffsetFetchRequestGroupTopic{{TopicID: at.topic, Partitions: []int32{at.partition}}})
		if err != nil {
			return err, isLoading(err)
		}
		p := topics[0].Partitions[0]
		offset = p.Offset
		return kerr.ErrorForCode(p.ErrorCode), false
	})
	return offset, err
}

// fetchOffsets returns the committed offsets of a group, for some topics or with none for all.
func fetchOffsets(w *wire, group string, topics []kmsg.OffsetFetchRequestGroupTopic) ([]kmsg.OffsetFetchResponseGroupTopic, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = true
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.Topics = group, topics
	req.Groups = append(req.Groups, g)
	version := int16(10)
	if topics == nil {
		version = 9 // the next one leaves out what is not in the catalog
	}
	resp, err := ask[*kmsg.OffsetFetchResponse](w, req, version)
	if err != nil {
		return nil, err
	}
	return resp.Groups[0].Topics, kerr.ErrorForCode(resp.Groups[0].ErrorCode)
}

func heartbeat(w *wire, group, member string, generation int32) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = group, member, generation
	resp, err := ask[*kmsg.HeartbeatResponse](w, req, 3)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// offsetsTopic is __consumer_offsets as crashSettings have it made.
func offsetsTopic() topic {
	return topic{name: catalog.GroupOffsetsTopic, partitions: 2, configs: map[string]string{
		"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600",
	}}
}

// isInternal says whether a topic is the broker's own, whose records no client has sent.
func (t topic) isInternal() bool { return strings.HasPrefix(t.name, "__") }

// isOrdinary says whether a topic is one that any client writes to.
func (t topic) isOrdinary() bool { return !t.isInternal() && !t.holdsTransactions() }
