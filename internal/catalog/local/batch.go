package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"segue/internal/catalog"
	"segue/storage/record"
)

// maxBatchBytes bounds a batch. A snapshot of a million topics stays below it.
const maxBatchBytes = 256 << 20

// encodeCommit makes the batch of a commit. Its offsets are those that the log gives it.
func encodeCommit(now int64, changes []catalog.Change) (record.Batch, error) {
	values := make([][]byte, 0, len(changes))
	for _, change := range changes {
		value, err := encodeChange(change)
		if err != nil {
			return record.Batch{}, err
		}
		values = append(values, value)
	}
	return buildBatch(now, values)
}

// encodeSnapshot makes the batch that an image can be made again from.
func encodeSnapshot(now int64, i *catalog.Image) (record.Batch, error) {
	topics, deleting, brokers := i.Topics(), i.Deleting(), i.Brokers()
	head, err := json.Marshal(snapshotForm{
		form: named(typeSnapshot), Image: i.Version(), ClusterID: i.ClusterID(), StartCount: i.StartCount(),
		NextProducerID: i.NextProducerID(), Topics: len(topics), Deleting: len(deleting), BrokerConfigs: len(brokers),
		Features: i.SetFeatures(),
	})
	values := [][]byte{head}
	add := func(value []byte, e error) {
		if err == nil {
			err = e
		}
		values = append(values, value)
	}
	for _, t := range topics {
		add(encodeTopic(typeSnapshotTopic, t))
	}
	for _, t := range deleting {
		add(encodeTopic(typeSnapshotDeletedTopic, t))
	}
	for _, broker := range brokers {
		add(json.Marshal(brokerConfigsForm{named(typeSnapshotBrokerConfigs), broker, i.BrokerConfigs(broker)}))
	}
	if err != nil {
		return record.Batch{}, err
	}
	return buildBatch(now, values)
}

func buildBatch(now int64, values [][]byte) (record.Batch, error) {
	size := 0
	for _, value := range values {
		size += len(value)
	}
	if size > maxBatchBytes {
		return record.Batch{}, fmt.Errorf("%d records with %d bytes are too much for one batch, which takes %d", len(values), size, maxBatchBytes)
	}
	b := record.NewBuilder(0)
	for _, value := range values {
		b.Add(now, nil, value)
	}
	return b.Build()
}

// applyBatch returns the image after a batch of the log, and whether that was a snapshot. First says that nothing lies
// before the batch.
func applyBatch(i *catalog.Image, b record.Batch, first bool) (next *catalog.Image, snapshot bool, err error) {
	if err := b.Verify(); err != nil {
		return nil, false, err
	}
	var values [][]byte
	for r, err := range b.Records(nil) {
		if err != nil {
			return nil, false, err
		}
		values = append(values, slices.Clone(r.Value))
	}
	if len(values) == 0 {
		return nil, false, errors.New("a batch has no records")
	}
	name, err := decodeForm(values[0])
	if err != nil {
		return nil, false, err
	}
	if name == typeSnapshot {
		next, err := decodeSnapshot(values)
		if err == nil && !first && !next.Equal(i) {
			err = fmt.Errorf("a snapshot of version %d is not what the changes before it lead to, which is version %d", next.Version(), i.Version())
		}
		return next, true, err
	}
	changes := make([]catalog.Change, len(values))
	for n, value := range values {
		if changes[n], err = decodeChange(value); err != nil {
			return nil, false, err
		}
	}
	next, err = i.Apply(changes...)
	return next, false, err
}

func decodeSnapshot(values [][]byte) (*catalog.Image, error) {
	var head snapshotForm
	if err := decodeInto(values[0], &head); err != nil {
		return nil, fmt.Errorf("a record of type %s: %w", typeSnapshot, err)
	}
	rest := values[1:]
	if head.Topics < 0 || head.Deleting < 0 || head.BrokerConfigs < 0 || head.Topics > len(rest) || head.Deleting > len(rest) ||
		head.BrokerConfigs > len(rest) || head.Topics+head.Deleting+head.BrokerConfigs != len(rest) {
		return nil, fmt.Errorf("a snapshot counts %d topics, %d deleted ones and %d broker configs, and has %d records",
			head.Topics, head.Deleting, head.BrokerConfigs, len(rest))
	}
	p := catalog.Parts{
		Version: head.Image, ClusterID: head.ClusterID, StartCount: head.StartCount, NextProducerID: head.NextProducerID,
		BrokerConfigs: map[string]map[string]string{}, Features: head.Features,
	}
	for n, value := range rest {
		want := typeSnapshotTopic
		switch {
		case n >= head.Topics+head.Deleting:
			want = typeSnapshotBrokerConfigs
		case n >= head.Topics:
			want = typeSnapshotDeletedTopic
		}
		if name, err := decodeForm(value); err != nil {
			return nil, err
		} else if name != want {
			return nil, fmt.Errorf("record %d of a snapshot has type %.40q, not %s", n+1, name, want)
		}
		if err := addPart(&p, want, value); err != nil {
			return nil, fmt.Errorf("record %d of a snapshot: %w", n+1, err)
		}
	}
	return catalog.Rebuild(p)
}

// addPart reads one record of a snapshot.
func addPart(p *catalog.Parts, name string, value []byte) error {
	if name == typeSnapshotBrokerConfigs {
		var f brokerConfigsForm
		if err := decodeInto(value, &f); err != nil {
			return err
		}
		if _, twice := p.BrokerConfigs[f.Broker]; twice {
			return fmt.Errorf("the configs of broker %.40q are there twice", f.Broker)
		}
		p.BrokerConfigs[f.Broker] = f.Configs
		return nil
	}
	t, err := decodeTopic(value)
	if err != nil {
		return err
	}
	if name == typeSnapshotTopic {
		p.Topics = append(p.Topics, t)
	} else {
		p.Deleting = append(p.Deleting, t)
	}
	return nil
}
