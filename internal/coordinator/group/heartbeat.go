package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// heartbeat handles Heartbeat: it renews the member's session, and says whether it has to join again.
func (m *Machine) heartbeat(t coordinator.Token, req *kmsg.HeartbeatRequest) {
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.Version = req.Version
	resp.ErrorCode = code(m.beat(req))
	m.Reply(t, resp)
}

func (m *Machine) beat(req *kmsg.HeartbeatRequest) *kerr.Error {
	if err := checkGroupID(req.Group); err != nil {
		return err
	}
	g := m.groups[req.Group]
	if g == nil {
		return kerr.UnknownMemberID
	}
	if err := g.validate(req.MemberID, req.InstanceID); err != nil {
		return err
	}
	if req.Generation != g.generation {
		return kerr.IllegalGeneration
	}
	m.renew(g.member(req.MemberID))
	if g.state == PreparingRebalance {
		return kerr.RebalanceInProgress
	}
	return nil
}
