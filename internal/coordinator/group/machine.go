package group

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
	"segue/partition"
)

// Input is one command for the machine.
type Input struct {
	Client Client // who asks; only JoinGroup needs it
	// Request is a *kmsg.JoinGroupRequest, *kmsg.SyncGroupRequest, *kmsg.HeartbeatRequest, *kmsg.LeaveGroupRequest or
	// *kmsg.OffsetCommitRequest, answered by the kmsg response of the same version; or a TxnCommit, Fetch, Delete,
	// DeleteOffsets, Describe, List, TopicsDeleted, Lags or Count, answered as each says. The machine keeps no part of it but
	// strings.
	Request any
}

// Guard implements coordinator.Guarded.
func (in Input) Guard() (coordinator.Producer, partition.Guard, bool) {
	if c, ok := in.Request.(TxnCommit); ok {
		return c.producer(), c.Guard, true
	}
	return coordinator.Producer{}, 0, false
}

// Client is who asks.
type Client struct {
	ID   string
	Host string // as Kafka shows it: "/127.0.0.1"
}

// Machine holds the groups of one shard of __consumer_offsets. It implements coordinator.Machine[Input].
type Machine struct {
	coordinator.Turn[expirer]

	opts   Options
	groups map[string]*group
	// open are the places in which producers have offsets that their transactions have yet to decide about.
	open   map[int64]map[pendingPlace]struct{}
	loaded bool // the replay is over
	expiry expirySweep
}

var (
	_ coordinator.Machine[Input] = (*Machine)(nil)
	_ coordinator.Transactional  = (*Machine)(nil)
	_ coordinator.Guarded        = Input{}
)

// New returns an empty machine.
func New(o Options) *Machine {
	return &Machine{opts: o, groups: map[string]*group{}, open: map[int64]map[pendingPlace]struct{}{}}
}

// Handle implements coordinator.Machine.
func (m *Machine) Handle(now time.Time, t coordinator.Token, in Input) coordinator.Effects {
	m.Begin(now)
	switch req := in.Request.(type) {
	case *kmsg.JoinGroupRequest:
		m.join(t, in.Client, req)
	case *kmsg.SyncGroupRequest:
		m.sync(t, req)
	case *kmsg.HeartbeatRequest:
		m.heartbeat(t, req)
	case *kmsg.LeaveGroupRequest:
		m.leave(t, req)
	case *kmsg.OffsetCommitRequest:
		m.commit(t, req)
	case TxnCommit:
		m.commitPending(t, req)
	case Fetch:
		m.Reply(t, m.fetch(req))
	case Delete:
		m.Reply(t, m.delete(req))
	case DeleteOffsets:
		m.Reply(t, m.deleteOffsets(req))
	case Describe:
		m.Reply(t, m.describe(req))
	case List:
		m.Reply(t, m.list(req))
	case TopicsDeleted:
		m.topicsDeleted(t, req)
	case Lags:
		m.Reply(t, m.lags())
	case Count:
		m.Reply(t, m.count())
	default:
		m.Reply(t, fmt.Errorf("group machine: a %T is not a request that it knows", in.Request))
	}
	return m.End()
}

// firesAtOnce bounds how many timers one Expire runs, and so the batch that comes of it.
const firesAtOnce = 500

// Expire implements coordinator.Machine. What is due and does not fit into one batch is left to the next call, which
// the deadline then asks for at once.
func (m *Machine) Expire(now time.Time) coordinator.Effects {
	m.Begin(now)
	for range firesAtOnce {
		t := m.Timers.First()
		if t == nil || t.At() > m.Clock() {
			break
		}
		m.Timers.Stop(t)
		t.Owner().expire(m)
		if _, swept := t.Owner().(sweep); swept {
			break // it has its own measure of what fits
		}
	}
	return m.End()
}

// Loaded implements coordinator.Machine.
func (m *Machine) Loaded(now time.Time) coordinator.Effects {
	m.Begin(now)
	m.loaded = true
	for _, id := range m.groupIDs() {
		g := m.groups[id]
		for _, mb := range g.members {
			m.renew(mb)
		}
		if len(g.members) > m.opts.MaxSize { // it was lowered
			m.prepareRebalance(g, fmt.Sprintf("loaded with %d members, of which group.max.size allows %d",
				len(g.members), m.opts.MaxSize))
		}
	}
	m.Set(&m.expiry.timer, &m.expiry, m.opts.OffsetsCheckInterval)
	return m.End()
}

// expirer is what owns a timer. expire is called when its time has come; the timer is not set any more then.
type expirer interface {
	expire(m *Machine)
}

type timer = coordinator.Timer[expirer]

// millis32 is a timeout that requests and records carry as a number.
func millis32(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }

// code is the number of an error; nil is none.
func code(err *kerr.Error) int16 {
	if err == nil {
		return 0
	}
	return err.Code
}
