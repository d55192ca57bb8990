package broker

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// alterTopic alters a config of a topic.
func (c *user) alterTopic() error {
	t, ok := c.pick()
	if !ok {
		return nil
	}
	delay := strconv.Itoa(c.rand.IntN(1000))
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, t.name
	r.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: alteredConfig, Value: &delay}}
	req.Resources = append(req.Resources, r)
	unlock := c.lock()
	c.ledger.topics.altering(t.name, delay)
	unlock()
	resp, err := ask[*kmsg.IncrementalAlterConfigsResponse](c.wire, req, 1)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(resp.Resources[0].ErrorCode); err != nil {
		if !c.excused(t, err) {
			c.violated("alter topic %s: %w", t, err)
		}
		return nil // it may be altered after all
	}
	defer c.lock()()
	c.ledger.topics.altered(t, delay)
	return nil
}

// growTopic adds a partition to a topic that has few.
func (c *user) growTopic() error {
	const most = 4
	t, ok := c.pick()
	if !ok || t.partitions >= most {
		return nil
	}
	req := kmsg.NewPtrCreatePartitionsRequest()
	r := kmsg.NewCreatePartitionsRequestTopic()
	r.Topic, r.Count = t.name, t.partitions+1
	req.Topics = append(req.Topics, r)
	unlock := c.lock()
	c.ledger.topics.growing(t.name, r.Count)
	unlock()
	resp, err := ask[*kmsg.CreatePartitionsResponse](c.wire, req, 3)
	if err != nil {
		return err
	}
	err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	if err != nil && !c.excused(t, err, kerr.InvalidPartitions) { // the latter if another client was faster
		c.violated("grow topic %s to %d partitions: %w", t, r.Count, err)
	}
	if err == nil {
		defer c.lock()()
		c.ledger.topics.grown(t, r.Count)
	}
	return nil
}
