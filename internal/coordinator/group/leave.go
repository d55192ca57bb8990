package group

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// leave handles LeaveGroup. Until version 2 it is about one member, after that about many.
func (m *Machine) leave(t coordinator.Token, req *kmsg.LeaveGroupRequest) {
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.Version = req.Version
	if err := checkGroupID(req.Group); err != nil {
		resp.ErrorCode = code(err)
		m.Reply(t, resp)
		return
	}
	leaving := req.Members
	if req.Version < 3 {
		leaving = []kmsg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	g := m.groups[req.Group]
	var left []string
	resp.Members = make([]kmsg.LeaveGroupResponseMember, 0, len(leaving))
	for _, l := range leaving {
		err := m.leaveOne(g, l)
		if err == nil && len(left) < 8 {
			left = append(left, l.MemberID)
		}
		resp.Members = append(resp.Members, kmsg.LeaveGroupResponseMember{
			MemberID: l.MemberID, InstanceID: l.InstanceID, ErrorCode: code(err),
		})
	}
	if req.Version < 3 {
		resp.ErrorCode, resp.Members = resp.Members[0].ErrorCode, nil
	}
	if len(left) > 0 && g.state != Empty {
		m.rebalanceOrComplete(g, "left: "+strings.Join(left, " ")+leaveReason(leaving))
	}
	m.Reply(t, resp)
}

// leaveOne takes one member out. An administrator names a static one by its instance id alone.
func (m *Machine) leaveOne(g *group, l kmsg.LeaveGroupRequestMember) *kerr.Error {
	if g == nil {
		return kerr.UnknownMemberID
	}
	if l.MemberID == "" {
		if l.InstanceID == nil || g.instances[*l.InstanceID] == nil {
			return kerr.UnknownMemberID
		}
		m.dismiss(g.instances[*l.InstanceID])
		return nil
	}
	if p := g.pending[l.MemberID]; p != nil {
		m.forget(p)
		return nil
	}
	if err := g.validate(l.MemberID, l.InstanceID); err != nil {
		return err
	}
	m.dismiss(g.member(l.MemberID))
	return nil
}

// leaveReason is the first reason that is given, as the end of a sentence.
func leaveReason(leaving []kmsg.LeaveGroupRequestMember) string {
	for _, l := range leaving {
		if l.Reason != nil && *l.Reason != "" {
			return ": " + (*l.Reason)[:min(len(*l.Reason), maxReason)]
		}
	}
	return ""
}
