//go:build integration && unix

package clients

import (
	"context"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// consumerGroups: a group is told of while it has a member and when it has none, its offsets are set and go, and so does it.
func (c *tools) consumerGroups() {
	const group = "tools-group"
	topic := c.topic(2)
	var records []*kgo.Record
	for i := range 20 {
		records = append(records, &kgo.Record{Partition: int32(i % 2), Value: []byte(padded(i, 0)), Timestamp: clock(i)})
	}
	c.write(0, topic, records...)
	of := []string{"--group", group}
	on := append(of, "--topic", topic)

	leave := c.member(group, topic, 10)
	c.prints(c.run(groupsTool, "--list", "--state"), `^GROUP +STATE +$`, `^tools-group +Stable +$`)
	c.prints(c.run(groupsTool, append(of, "--describe")...),
		`^GROUP +TOPIC +PARTITION +CURRENT-OFFSET +LOG-END-OFFSET +LAG +CONSUMER-ID +HOST +CLIENT-ID$`,
		`^tools-group +for-kafka-consumer-groups +0 +6 +10 +4 +the-member-\S+ +/127\.0\.0\.1 +the-member$`,
		`^tools-group +for-kafka-consumer-groups +1 +- +10 +- +the-member-\S+ +/127\.0\.0\.1 +the-member$`)
	c.prints(c.run(groupsTool, append(of, "--describe", "--members", "--verbose")...),
		`^tools-group +the-member-\S+ +/127\.0\.0\.1 +the-member +2 +- +for-kafka-consumer-groups:0,1 `)
	c.prints(c.run(groupsTool, append(of, "--describe", "--state")...), `^tools-group +`+c.b.addr()+` +\(1\) +range +Stable +1$`)
	c.prints(c.run(groupsTool, append(on, "--reset-offsets", "--to-earliest", "--execute")...),
		`Assignments can only be reset if the group 'tools-group' is inactive, but the current state is Stable`)
	leave()

	out := c.run(groupsTool, append(of, "--describe")...)
	c.prints(out, `Consumer group 'tools-group' has no active members\.`,
		`^tools-group +for-kafka-consumer-groups +0 +6 +10 +4 +- +- +-$`)
	c.prints(c.run(groupsTool, append(on, "--reset-offsets", "--to-datetime", clock(7).UTC().Format("2006-01-02T15:04:05.000Z"), "--execute")...),
		`^tools-group +for-kafka-consumer-groups +0 +4$`, `^tools-group +for-kafka-consumer-groups +1 +3$`)
	c.committed(group, topic, 4, 3)
	c.run(groupsTool, append(on, "--reset-offsets", "--to-earliest", "--execute")...)
	c.committed(group, topic, 0, 0)
	c.prints(c.run(groupsTool, append(of, "--delete-offsets", "--topic", topic+":1")...), `^for-kafka-consumer-groups +1 +Successful *$`)
	c.committed(group, topic, 0, -1)
	c.prints(c.run(groupsTool, append(of, "--delete")...), `^Deletion of requested consumer groups \('tools-group'\) was successful\.$`)
	c.lacking(c.run(groupsTool, "--list"), `^tools-group`)
	// It exits with 0 all the same.
	c.prints(c.run(groupsTool, append(of, "--delete")...), `Group 'tools-group' could not be deleted due to: \S+GroupIdNotFoundException: The group id does not exist\.`)
}

// member joins a group, commits 6 for partition 0 once it has read so many records, and stays until leave is called.
func (c *tools) member(group, topic string, count int) (leave func()) {
	c.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.b.addr()), kgo.ClientID("the-member"), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.Balancers(kgo.RangeBalancer()), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(cl.Close)
	for ctx := within(c.t); count > 0; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			c.t.Fatalf("the judge's member of %s: %v", group, err)
		}
		count -= fetches.NumRecords()
	}
	if err := cl.CommitRecords(within(c.t), &kgo.Record{Topic: topic, Partition: 0, Offset: 5}); err != nil {
		c.t.Fatal(err)
	}
	// Beats and polls go on in the background until it leaves.
	return func() {
		if err := cl.LeaveGroupContext(context.WithoutCancel(within(c.t))); err != nil {
			c.t.Fatal(err)
		}
	}
}

// committed expects a group's offsets, by partition; -1 for none.
func (c *tools) committed(group, topic string, want ...int64) {
	c.t.Helper()
	offsets, err := c.adm.FetchOffsets(within(c.t), group)
	if err != nil {
		c.t.Fatal(err)
	}
	for p, at := range want {
		got := int64(-1)
		if o, ok := offsets.Lookup(topic, int32(p)); ok {
			got = o.At
		}
		if got != at {
			c.t.Errorf("%s has committed %d for %s-%d, want %d", group, got, strings.TrimSpace(topic), p, at)
		}
	}
}
