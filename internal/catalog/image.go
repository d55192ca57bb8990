package catalog

import (
	"bytes"
	"maps"
	"slices"
	"strings"
)

// Topic is a topic as the catalog knows it. It is never changed once it is in an image; nor may be what it holds.
type Topic struct {
	Name              string
	ID                [16]byte
	Partitions        int32
	ReplicationFactor int16
	Configs           map[string]string // those that were set for the topic
	Internal          bool              // belongs to the broker's coordinators
}

// Has says whether the topic has a partition of that number.
func (t *Topic) Has(partition int32) bool { return partition >= 0 && partition < t.Partitions }

func (t *Topic) equal(o *Topic) bool {
	return t.Name == o.Name && t.ID == o.ID && t.Partitions == o.Partitions && t.Internal == o.Internal &&
		t.ReplicationFactor == o.ReplicationFactor && maps.Equal(t.Configs, o.Configs)
}

// Image is the catalog at one version. It is immutable and safe for concurrent use; what its methods return must not
// be changed. The zero Image is the empty catalog at version 0.
type Image struct {
	version        int64
	clusterID      string
	startCount     int32
	nextProducerID int64
	partitions     int
	features       map[string]int16 // that were set, by name; copied before it is changed

	byName   shards[string, *Topic]
	byID     shards[[16]byte, *Topic]
	unified  shards[string, string] // names that hold '.' or '_', with all '.' replaced, to the name itself
	sorted   []*Topic               // by name
	deleting shards[[16]byte, *Topic]
	brokers  map[string]map[string]string
}

// Version counts the commits that led to the image.
func (i *Image) Version() int64 { return i.version }

// ClusterID is the id of the cluster, set at the first start and never changed; empty before.
func (i *Image) ClusterID() string { return i.clusterID }

// StartCount counts the broker's starts: it is the leader epoch of every partition, and skips those of logs that were
// brought from elsewhere.
func (i *Image) StartCount() int32 { return i.startCount }

// NextProducerID is the first producer id that was never reserved.
func (i *Image) NextProducerID() int64 { return i.nextProducerID }

// Topic returns a live topic by name.
func (i *Image) Topic(name string) (*Topic, bool) { return i.byName.get(name) }

// TopicByID returns a live topic by id.
func (i *Image) TopicByID(id [16]byte) (*Topic, bool) { return i.byID.get(id) }

// Knows says whether a topic has that id or had it, its folders being not yet gone.
func (i *Image) Knows(id [16]byte) bool {
	_, there := i.byID.get(id)
	_, deleted := i.deleting.get(id)
	return there || deleted
}

// Topics returns the live topics in the order of their names.
func (i *Image) Topics() []*Topic { return i.sorted }

// Partitions is the number of partitions of all live topics.
func (i *Image) Partitions() int { return i.partitions }

// Collision returns the live topic whose name is the given one once '.' and '_' are taken for the same.
func (i *Image) Collision(name string) (string, bool) {
	if _, ok := i.byName.get(name); ok {
		return name, true
	}
	if !hasCollisionChars(name) {
		return "", false
	}
	return i.unified.get(unified(name))
}

// Deleting returns the topics that were deleted and whose folders may still exist, in the order of their ids.
func (i *Image) Deleting() []*Topic {
	return slices.SortedFunc(i.deleting.values(), func(a, b *Topic) int { return bytes.Compare(a.ID[:], b.ID[:]) })
}

// BrokerConfigs returns the configs that were altered for a broker, named by its node id in decimal, or for all
// brokers, named by the empty string.
func (i *Image) BrokerConfigs(broker string) map[string]string { return i.brokers[broker] }

// Brokers returns the names that have BrokerConfigs, in order.
func (i *Image) Brokers() []string { return slices.Sorted(maps.Keys(i.brokers)) }

// Size is the number of things in the image: a measure of what a copy of it takes.
func (i *Image) Size() int { return len(i.sorted) + i.deleting.size + len(i.brokers) + len(i.features) }

// Equal reports whether two images hold the same.
func (i *Image) Equal(o *Image) bool {
	return i.version == o.version && i.clusterID == o.clusterID && i.startCount == o.startCount &&
		i.nextProducerID == o.nextProducerID && i.partitions == o.partitions && maps.Equal(i.features, o.features) &&
		slices.EqualFunc(i.sorted, o.sorted, (*Topic).equal) &&
		slices.EqualFunc(i.Deleting(), o.Deleting(), (*Topic).equal) &&
		maps.EqualFunc(i.brokers, o.brokers, maps.Equal[map[string]string, map[string]string])
}

// Apply returns the image that the changes lead to, one after the other, one version above this one. If one of them
// is not possible it returns an error, with Kafka's code where a client may have caused it, and nothing has
// happened. No changes lead to the image itself. Apply copies what it keeps of the changes.
func (i *Image) Apply(changes ...Change) (*Image, error) {
	if len(changes) == 0 {
		return i, nil
	}
	e := newEdit(i)
	for _, change := range changes {
		if err := change.apply(e); err != nil {
			return nil, err
		}
	}
	return e.done(i.version + 1), nil
}

// edit is an image in the making.
type edit struct {
	image    Image // scalars and the list from before
	byName   *shardsEdit[string, *Topic]
	byID     *shardsEdit[[16]byte, *Topic]
	unified  *shardsEdit[string, string]
	deleting *shardsEdit[[16]byte, *Topic]
	touched  map[string]bool // names whose place in the sorted list changed
	brokers  bool            // the map of broker configs is its own
}

func newEdit(i *Image) *edit {
	return &edit{
		image: *i, byName: i.byName.edit(), byID: i.byID.edit(), unified: i.unified.edit(), deleting: i.deleting.edit(),
		touched: map[string]bool{},
	}
}

func (e *edit) done(version int64) *Image {
	next := e.image
	next.version = version
	next.byName, next.byID, next.unified, next.deleting = e.byName.done(), e.byID.done(), e.unified.done(), e.deleting.done()
	next.sorted = e.sort()
	return &next
}

// sort returns the list of topics with the touched ones put right. It copies runs of pointers, so one change among
// 10,000 topics costs some 80 KB of copying.
func (e *edit) sort() []*Topic {
	if len(e.touched) == 0 {
		return e.image.sorted
	}
	rest := e.image.sorted
	sorted := make([]*Topic, 0, len(rest)+len(e.touched))
	for _, name := range slices.Sorted(maps.Keys(e.touched)) {
		at, found := slices.BinarySearchFunc(rest, name, func(t *Topic, name string) int { return strings.Compare(t.Name, name) })
		sorted = append(sorted, rest[:at]...)
		if found {
			at++
		}
		rest = rest[at:]
		if t, ok := e.byName.get(name); ok {
			sorted = append(sorted, t)
		}
	}
	return append(sorted, rest...)
}

// put adds a topic or takes the place of the one with its name and id.
func (e *edit) put(t *Topic) {
	if old, ok := e.byName.get(t.Name); ok {
		e.image.partitions -= int(old.Partitions)
	}
	e.image.partitions += int(t.Partitions)
	e.byName.set(t.Name, t)
	e.byID.set(t.ID, t)
	if hasCollisionChars(t.Name) {
		e.unified.set(unified(t.Name), t.Name)
	}
	e.touched[t.Name] = true
}

func (e *edit) drop(t *Topic) {
	e.image.partitions -= int(t.Partitions)
	e.byName.remove(t.Name)
	e.byID.remove(t.ID)
	if hasCollisionChars(t.Name) {
		e.unified.remove(unified(t.Name))
	}
	e.touched[t.Name] = true
}
