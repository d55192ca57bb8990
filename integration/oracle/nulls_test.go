package oracle

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// nullsScenario is about strings that are null where there must be one.
func nullsScenario() scenario {
	const here = "HERE" // stands where null is to be
	set := func(s string) *string { return &s }
	join := joinRequest(here, "m")
	protocol := joinRequest("g", "m")
	protocol.Protocols[0].Name = here
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.ProtocolType, sync.Protocol = "g", "m", set("consumer"), set("range")
	sync.GroupAssignment = append(sync.GroupAssignment, assignment(here, "for nobody"))
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey, find.CoordinatorKeys = here, []string{"g", here}
	list := kmsg.NewPtrListGroupsRequest()
	list.StatesFilter, list.TypesFilter = []string{here}, []string{"classic"}
	nameless := topic{name: here}
	requests := []struct {
		what string
		req  kmsg.Request
		in   []int16 // the versions
	}{
		{"a key", find, []int16{0, 3, 4}},
		{"a group", join, []int16{0, 5, 9}},
		{"a member", joinRequest("g", here), []int16{0, 5, 9}},
		{"a protocol", protocol, []int16{0, 5, 9}},
		{"a member that is assigned something", sync, []int16{0, 3, 5}},
		{"a group", heartbeatRequest(here, 1, "m"), []int16{0, 4}},
		{"a member", heartbeatRequest("g", 1, here), []int16{0, 4}},
		{"a group", leaveRequest(here, leaving("m", nil)), []int16{0, 3, 5}},
		{"a member", leaveRequest("g", leaving(here, nil)), []int16{0, 3, 5}},
		{"a group", commitRequest(here, topic{name: "t"}, 1), []int16{2, 7, 9}},
		{"a topic", commitRequest("g", nameless, 1), []int16{2, 7, 9}},
		{"a group", fetchOffsetsRequest(here, topic{name: "t"}, 0), []int16{1, 5, 8}},
		{"a topic", fetchOffsetsRequest("g", nameless, 0), []int16{1, 5, 8}},
		{"a group", deleteGroupsRequest("g", here), []int16{0, 2}},
		{"a group", describeGroupsRequest("g", here), []int16{0, 5}},
		{"a state", list, []int16{4, 5}},
		{"a group", offsetDeleteRequest(here, topic{name: "t"}, 0), []int16{0}},
		{"a topic", offsetDeleteRequest("g", nameless, 0), []int16{0}},
	}
	s := scenario{name: "nulls"}
	for _, r := range requests {
		name := r.what + " of " + kmsg.NameForKey(r.req.Key())
		s.cases = append(s.cases, oneCase{name: name, api: kmsg.ApiVersions, from: 4, to: 4, run: func(c *client) {
			c.group("g")
			for _, version := range r.in {
				r.req.SetVersion(version)
				text, null := append([]byte{0, byte(len(here))}, here...), []byte{0xff, 0xff}
				head := c.head(r.req.Key(), version)
				if r.req.IsFlexible() {
					text, null = append([]byte{byte(len(here) + 1)}, here...), []byte{0}
					head = append(head, 0) // no tags
				}
				c.raw(kmsg.NameForKey(r.req.Key()), append(head, bytes.Replace(r.req.AppendTo(nil), text, null, 1)...))
			}
		}})
	}
	return s
}
