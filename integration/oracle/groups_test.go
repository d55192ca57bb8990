package oracle

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// This file is what the scenarios about groups have in common: groups that are about to be used, and their members.

// The error codes that cases wait for.
const (
	unknownMemberID  = 25
	memberIDRequired = 79
)

// group returns a fresh group's id, when the broker serves as its coordinator: Kafka makes a topic for that first.
func (c *client) group(label string) string {
	c.t.Helper()
	id := c.fresh(label)
	c.coordinated(id)
	return id
}

// coordinated waits until the broker serves as the coordinator of a group, which has no member "nobody".
func (c *client) coordinated(group string) {
	c.t.Helper()
	helper := c.aside()
	defer helper.close()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if do[*kmsg.HeartbeatResponse](helper, heartbeatRequest(group, 0, "nobody")).ErrorCode == unknownMemberID {
			return
		}
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.CoordinatorKey, find.CoordinatorKeys = group, []string{group}
		do[*kmsg.FindCoordinatorResponse](helper, find)
	}
	c.t.Fatalf("the group %s has no coordinator after %v", group, patience)
}

// aside is another connection, whose requests are of the newest versions: it is not what the case is about.
func (c *client) aside() *client {
	return c.connect(kmsg.ApiVersions, c.versions.newest(kmsg.ApiVersions.Int16()))
}

// until waits until a group is in a state with this many members, so that what was begun on one connection is done before
// another goes on.
func (c *client) until(group, state string, members int) {
	c.t.Helper()
	helper := c.aside()
	defer helper.close()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		found := do[*kmsg.DescribeGroupsResponse](helper, describeGroupsRequest(group)).Groups[0]
		if found.State == state && len(found.Members) == members {
			return
		}
	}
	c.t.Fatalf("the group %s is not %s with %d members after %v", group, state, members, patience)
}

// member is somebody in a group, with a connection to themselves.
type member struct {
	*client
	joins      *kmsg.JoinGroupRequest // how; it has their group, and their id when they have one
	generation int32
}

func (m *member) group() string     { return m.joins.Group }
func (m *member) id() string        { return m.joins.MemberID }
func (m *member) instance() *string { return m.joins.InstanceID }

// newMember is somebody who is about to join, with an id if the broker gives one beforehand. Change says how they join; nil
// is as joinRequest has it.
func (c *client) newMember(group string, change func(*kmsg.JoinGroupRequest)) *member {
	c.t.Helper()
	m := &member{client: c.another(), joins: joinRequest(group, "")}
	if change != nil {
		change(m.joins)
	}
	if m.instance() != nil || c.api == kmsg.JoinGroup && c.version < 4 {
		return m
	}
	resp := do[*kmsg.JoinGroupResponse](m.client, m.joins)
	if resp.ErrorCode != memberIDRequired {
		c.t.Fatalf("a member of %s is given no id: %v", group, codeName(resp.ErrorCode))
	}
	m.joins.MemberID = resp.MemberID
	return m
}

// enter begins to join; entered waits for the answer.
func (m *member) enter() *pending[*kmsg.JoinGroupResponse] {
	m.t.Helper()
	return begin[*kmsg.JoinGroupResponse](m.client, m.joins)
}

func (m *member) entered(p *pending[*kmsg.JoinGroupResponse]) {
	m.t.Helper()
	resp := p.answer()
	m.joins.MemberID, m.generation = resp.MemberID, resp.Generation
}

// quietly is a pending request whose answer nobody needs to see.
func quietly[R kmsg.Response](p *pending[R]) *pending[R] {
	p.quiet = true
	return p
}

// joined is a member of a group that nobody else is in, who has not asked for an assignment yet.
func (c *client) joined(group string, change func(*kmsg.JoinGroupRequest)) *member {
	c.t.Helper()
	m := c.newMember(group, change)
	m.entered(quietly(m.enter()))
	return m
}

// alone is the only member of a stable group.
func (c *client) alone(group string, change func(*kmsg.JoinGroupRequest)) *member {
	c.t.Helper()
	m := c.joined(group, change)
	do[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m))
	return m
}

// joinedBy lets somebody into the group of its only member, who stays the leader. Neither has asked for an assignment then.
func (m *member) joinedBy(change func(*kmsg.JoinGroupRequest)) *member {
	m.t.Helper()
	other := m.newMember(m.group(), change)
	entering := quietly(other.enter())
	m.until(m.group(), "PreparingRebalance", 2)
	entered := quietly(m.enter())
	other.entered(entering)
	m.entered(entered)
	return other
}

// two are the leader and the follower of a stable group.
func (c *client) two(group string, change func(*kmsg.JoinGroupRequest)) (leader, follower *member) {
	c.t.Helper()
	leader = c.alone(group, change)
	follower = leader.joinedBy(change)
	do[*kmsg.SyncGroupResponse](leader.client, leader.syncRequest(leader, follower))
	do[*kmsg.SyncGroupResponse](follower.client, follower.syncRequest())
	return leader, follower
}

// syncRequest asks for the member's assignment. The leader assigns to others "for" and their place in the list.
func (m *member) syncRequest(assigned ...*member) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.Generation, req.MemberID, req.InstanceID = m.group(), m.generation, m.id(), m.instance()
	req.ProtocolType, req.Protocol = &m.joins.ProtocolType, &m.joins.Protocols[0].Name
	for i, to := range assigned {
		req.GroupAssignment = append(req.GroupAssignment, assignment(to.id(), "for "+string(rune('1'+i))))
	}
	return req
}

func assignment(memberID, what string) kmsg.SyncGroupRequestGroupAssignment {
	a := kmsg.NewSyncGroupRequestGroupAssignment()
	a.MemberID, a.MemberAssignment = memberID, []byte(what)
	return a
}

// heartbeat is the member's own.
func (m *member) heartbeat() *kmsg.HeartbeatRequest {
	req := heartbeatRequest(m.group(), m.generation, m.id())
	req.InstanceID = m.instance()
	return req
}

// beats asks whether the member is still one.
func (m *member) beats() {
	m.t.Helper()
	ask[*kmsg.HeartbeatResponse](m.client, m.heartbeat())
}

// leaves takes the member out of the group.
func (m *member) leaves() {
	m.t.Helper()
	do[*kmsg.LeaveGroupResponse](m.client, leaveRequest(m.group(), leaving(m.id(), m.instance())))
}

// commits is a commit by the member.
func (m *member) commits(t topic, offset int64) *kmsg.OffsetCommitRequest {
	req := commitRequest(m.group(), t, offset)
	req.Generation, req.MemberID, req.InstanceID = m.generation, m.id(), m.instance()
	return req
}

// joinRequest is how a consumer joins, with times for which no case waits.
func joinRequest(group, memberID string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID = group, memberID
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 60_000, 60_000
	req.ProtocolType, req.Protocols = "consumer", protocols("range")
	return req
}

// protocols are offered by a member, with a consumer's metadata: at some others Kafka throws, and never answers.
func protocols(names ...string) []kmsg.JoinGroupRequestProtocol {
	list := []kmsg.JoinGroupRequestProtocol{}
	for _, name := range names {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, says(name)
		list = append(list, p)
	}
	return list
}

// says is the metadata of a consumer that reads nothing.
func says(what string) []byte {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.UserData = []byte(what)
	return meta.AppendTo(nil)
}

// offers is a member that offers these protocols.
func offers(names ...string) func(*kmsg.JoinGroupRequest) {
	return func(req *kmsg.JoinGroupRequest) { req.Protocols = protocols(names...) }
}

// subscribed is a consumer that reads a topic.
func subscribed(topic string) func(*kmsg.JoinGroupRequest) {
	return func(req *kmsg.JoinGroupRequest) {
		meta := kmsg.NewConsumerMemberMetadata()
		meta.Topics = []string{topic}
		req.Protocols[0].Metadata = meta.AppendTo(nil)
	}
}

// static is a member with an instance id.
func static(instance string) func(*kmsg.JoinGroupRequest) {
	return func(req *kmsg.JoinGroupRequest) { req.InstanceID = &instance }
}

// sessionOf and rebalancing are members with these timeouts.
func sessionOf(timeout time.Duration) func(*kmsg.JoinGroupRequest) {
	return func(req *kmsg.JoinGroupRequest) { req.SessionTimeoutMillis = int32(timeout.Milliseconds()) }
}

func rebalancing(timeout time.Duration) func(*kmsg.JoinGroupRequest) {
	return func(req *kmsg.JoinGroupRequest) { req.RebalanceTimeoutMillis = int32(timeout.Milliseconds()) }
}

func heartbeatRequest(group string, generation int32, memberID string) *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.Generation, req.MemberID = group, generation, memberID
	return req
}

// leaveRequest is about these members; about the first alone in versions that have no more.
func leaveRequest(group string, members ...kmsg.LeaveGroupRequestMember) *kmsg.LeaveGroupRequest {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.Members = group, members
	if len(members) > 0 {
		req.MemberID = members[0].MemberID
	}
	return req
}

func leaving(memberID string, instance *string) kmsg.LeaveGroupRequestMember {
	l := kmsg.NewLeaveGroupRequestMember()
	l.MemberID, l.InstanceID = memberID, instance
	return l
}

func describeGroupsRequest(groups ...string) *kmsg.DescribeGroupsRequest {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = groups
	return req
}

// describeGroup shows a group.
func describeGroup(c *client, group string) {
	c.t.Helper()
	ask[*kmsg.DescribeGroupsResponse](c, describeGroupsRequest(group))
}

// commitRequest commits an offset of a topic's partition 0, by nobody.
func commitRequest(group string, t topic, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = group
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic, rt.TopicID = t.name, t.id
	rt.Partitions = append(rt.Partitions, committing(0, offset))
	req.Topics = append(req.Topics, rt)
	return req
}

func committing(partition int32, offset int64) kmsg.OffsetCommitRequestTopicPartition {
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	return p
}

// fetchAllRequest asks for all offsets of groups; for those of the first alone in versions that have no more.
func fetchAllRequest(groups ...string) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	for _, id := range groups {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.Topics = id, nil
		req.Groups = append(req.Groups, g)
	}
	if len(groups) > 0 {
		req.Group, req.Topics = groups[0], nil
	}
	return req
}

// fetchOffsetsRequest asks for the offsets of a topic's partitions.
func fetchOffsetsRequest(group string, t topic, partitions ...int32) *kmsg.OffsetFetchRequest {
	req := fetchAllRequest(group)
	req.Topics, req.Groups[0].Topics = []kmsg.OffsetFetchRequestTopic{}, []kmsg.OffsetFetchRequestGroupTopic{}
	addOffsets(req, t, partitions...)
	return req
}

// addOffsets asks for more.
func addOffsets(req *kmsg.OffsetFetchRequest, t topic, partitions ...int32) {
	old := kmsg.NewOffsetFetchRequestTopic()
	old.Topic, old.Partitions = t.name, partitions
	req.Topics = append(req.Topics, old)
	rt := kmsg.NewOffsetFetchRequestGroupTopic()
	rt.Topic, rt.TopicID, rt.Partitions = t.name, t.id, partitions
	req.Groups[0].Topics = append(req.Groups[0].Topics, rt)
}

// showOffsets shows the offsets that are committed of a group for a topic.
func showOffsets(c *client, group string, t topic, partitions ...int32) {
	c.t.Helper()
	ask[*kmsg.OffsetFetchResponse](c, fetchOffsetsRequest(group, t, partitions...))
}

// listGroups shows those of these groups that a broker lists.
func listGroups(c *client, req *kmsg.ListGroupsRequest, groups ...string) {
	c.t.Helper()
	resp := do[*kmsg.ListGroupsResponse](c, req)
	resp.Groups = slices.DeleteFunc(resp.Groups, func(g kmsg.ListGroupsResponseGroup) bool { return !slices.Contains(groups, g.Group) })
	c.show(req, resp)
}

// show puts an answer into the transcript as a case has changed it.
func (c *client) show(req kmsg.Request, resp kmsg.Response) {
	c.steps = append(c.steps, step{kmsg.NameForKey(req.Key()), c.names.tree(resp)})
}
