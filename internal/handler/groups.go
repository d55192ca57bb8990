package handler

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"segue/internal/coordinator/group"
	"segue/internal/server"
)

// groups is what the handlers ask of the coordinator of groups. The errors are those of package coordinator, or the
// context's, whose end ends the waiting and nothing else.
type groups interface {
	// Do gives a group's shard a command and returns the message of its reply.
	Do(ctx context.Context, groupID string, in group.Input) (any, error)
	// Each gives a command to every shard that is here, and returns the replies of those that gave one.
	Each(ctx context.Context, in group.Input) (replies []any, err error)
}

// groupCommands is how the handlers give commands to groups.
type groupCommands struct {
	log    zerolog.Logger
	broker context.Context // that commands run under: each takes effect whether its client is still there or not
	groups groups
	// patience is how long to wait for what depends on nobody but the broker (offsets.commit.timeout.ms).
	patience func() time.Duration
}

// command gives a group a command that changes something and is answered at once, with an R.
func command[R any](c *groupCommands, groupID string, request any) (R, *kerr.Error) {
	ctx, cancel := context.WithTimeout(c.broker, c.patience())
	defer cancel()
	return ask[R](ctx, c, groupID, group.Input{Request: request})
}

// query gives a group a command that changes nothing, and is answered at once.
func query[R any](ctx context.Context, c *groupCommands, groupID string, request any) (R, *kerr.Error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience())
	defer cancel()
	return ask[R](ctx, c, groupID, group.Input{Request: request})
}

// ask gives a group a command and waits for the reply for as long as the context lasts.
func ask[R any](ctx context.Context, c *groupCommands, groupID string, in group.Input) (R, *kerr.Error) {
	if err := refused(groupID, in.Request); err != nil {
		var none R
		return none, err
	}
	message, err := c.groups.Do(ctx, groupID, in)
	reply, sound := message.(R)
	if err == nil && !sound {
		err = fmt.Errorf("the reply to a %T is a %T: %v", in.Request, message, message)
	}
	if err != nil {
		return reply, c.code(groupID, err)
	}
	return reply, nil
}

// refused says why a command is given to no shard. The group whose id is empty is refused by some; for others it is a group
// like any, as in Kafka.
func refused(groupID string, request any) *kerr.Error {
	switch r := request.(type) {
	case *kmsg.SyncGroupRequest:
		if r.Version >= 5 && (r.ProtocolType == nil || r.Protocol == nil) { // which tell what the client believes in
			return kerr.InconsistentGroupProtocol
		}
	case *kmsg.JoinGroupRequest, *kmsg.HeartbeatRequest, *kmsg.LeaveGroupRequest, group.DeleteOffsets, group.TxnCommit:
	default:
		return nil
	}
	if groupID == "" {
		return kerr.InvalidGroupID
	}
	return nil
}

// code says in Kafka's terms why a command was not answered.
func (c *groupCommands) code(groupID string, err error) *kerr.Error {
	code := coordinatorCode(err)
	if code == kerr.UnknownServerError {
		c.log.Error().Err(err).Str("group", groupID).Msg("a command of a group failed")
	}
	return code
}

// sideBySide is how many groups of one request are asked at a time, so that what they write shares syncs.
const sideBySide = 32

// forEach calls do with each number below n, some of them at the same time, and returns when all are done.
func forEach(n int, do func(i int)) {
	if n == 1 {
		do(0)
		return
	}
	var calls errgroup.Group
	calls.SetLimit(sideBySide)
	for i := range n {
		calls.Go(func() error {
			do(i)
			return nil
		})
	}
	_ = calls.Wait() // nobody returns an error
}

// forEachKey answers each number below n, asking once for all that have the same key: a group that one request names again
// and again is asked once, and the answers share what they hold. What a group is made of may be thousands of times as large
// as its id.
func forEachKey[K comparable, A any](n int, key func(i int) K, ask func(i int) A) []A {
	first := make([]int, n) // where the key of each comes first
	places := make(map[K]int, n)
	for i := range n {
		at, again := places[key(i)]
		if !again {
			at = i
			places[key(i)] = i
		}
		first[i] = at
	}
	answers := make([]A, n)
	forEach(n, func(i int) {
		if first[i] == i {
			answers[i] = ask(i)
		}
	})
	for i, f := range first {
		answers[i] = answers[f]
	}
	return answers
}

// clientOf is who asks, as groups keep and show it.
func clientOf(r *server.Request) group.Client {
	c := group.Client{Host: javaHost(r.Client.Remote)}
	if r.ClientID != nil {
		c.ID = *r.ClientID
	}
	return c
}

// javaHost is an address as Kafka shows it in groups: Java's InetAddress.toString, which never shortens IPv6.
func javaHost(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return ""
	}
	ip := tcp.AddrPort().Addr().Unmap()
	if !ip.Is6() {
		return "/" + ip.String()
	}
	var b strings.Builder
	bytes := ip.As16()
	for i, separator := 0, byte('/'); i < len(bytes); i, separator = i+2, ':' {
		b.WriteByte(separator)
		fmt.Fprintf(&b, "%x", uint16(bytes[i])<<8|uint16(bytes[i+1]))
	}
	return b.String() + zoneOf(ip)
}

func zoneOf(ip netip.Addr) string {
	if ip.Zone() == "" {
		return ""
	}
	return "%" + ip.Zone()
}
