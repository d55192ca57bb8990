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
	opts   Options
	groups map[string]*group
	// open are the places in which producers have offsets that their transactions have yet to decide about.
	open   map[int64]map[pendingPlace]struct{}
	loaded bool // the replay is over
	timers coordinator.Timers[expirer]
	began  time.Time // what timers count from

	expiry expirySweep

	now time.Time           // of the command that is under way
	fx  coordinator.Effects // what it has led to so far
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
	m.begin(now)
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
		m.reply(t, m.fetch(req))
	case Delete:
		m.reply(t, m.delete(req))
	case DeleteOffsets:
		m.reply(t, m.deleteOffsets(req))
	case Describe:
		m.reply(t, m.describe(req))
	case List:
		m.reply(t, m.list(req))
	case TopicsDeleted:
		m.topicsDeleted(t, req)
	case Lags:
		m.reply(t, m.lags())
	case Count:
		m.reply(t, m.count())
	default:
		m.reply(t, fmt.Errorf("group machine: a %T is not a request that it knows", in.Request))
	}
	return m.end()
}

// firesAtOnce bounds how many timers one Expire runs, and so the batch that comes of it.
const firesAtOnce = 500

// Expire implements coordinator.Machine. What is due and does not fit into one batch is left to the next call, which
// the deadline then asks for at once.
func (m *Machine) Expire(now time.Time) coordinator.Effects {
	m.begin(now)
	for range firesAtOnce {
		t := m.timers.First()
		if t == nil || t.At() > m.clock() {
			break
		}
		m.timers.Stop(t)
		t.Owner().expire(m)
		if _, swept := t.Owner().(sweep); swept {
			break // it has its own measure of what fits
		}
	}
	return m.end()
}

// Loaded implements coordinator.Machine.
func (m *Machine) Loaded(now time.Time) coordinator.Effects {
	m.begin(now)
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
	m.set(&m.expiry.timer, &m.expiry, m.opts.OffsetsCheckInterval)
	return m.end()
}

func (m *Machine) begin(now time.Time) {
	if m.began.IsZero() {
		m.began = now
	}
	m.now = now
}

// end returns what the command has led to.
func (m *Machine) end() coordinator.Effects {
	fx := m.fx
	m.fx = coordinator.Effects{}
	if t := m.timers.First(); t != nil {
		fx.Deadline = m.began.Add(time.Duration(t.At()))
	}
	return fx
}

func (m *Machine) reply(t coordinator.Token, message any) {
	m.fx.Replies = append(m.fx.Replies, coordinator.Reply{To: t, Message: message})
}

func (m *Machine) write(r coordinator.Record) { m.fx.Records = append(m.fx.Records, r) }

// clock is the time on which timers run, in nanoseconds.
func (m *Machine) clock() int64 { return int64(m.now.Sub(m.began)) }

// millis is the time that is written into records: Unix milliseconds.
func (m *Machine) millis() int64 { return m.now.UnixMilli() }

// expirer is what owns a timer. expire is called when its time has come; the timer is not set any more then.
type expirer interface {
	expire(m *Machine)
}

type timer = coordinator.Timer[expirer]

// millis32 is a timeout that requests and records carry as a number.
func millis32(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }

// set makes a timer ring after a time.
func (m *Machine) set(t *timer, owner expirer, after time.Duration) {
	m.timers.Set(t, owner, m.clock()+int64(after))
}

// code is the number of an error; nil is none.
func code(err *kerr.Error) int16 {
	if err == nil {
		return 0
	}
	return err.Code
}
