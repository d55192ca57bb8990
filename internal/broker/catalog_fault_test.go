package broker

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/vfs"
)

// TestFailedCatalog has one sync of the catalog fail. That is final, as for every log: nothing is changed any more, and
// clients are told that it is the disk; what is there is served as before. The next broker goes on.
func TestFailedCatalog(t *testing.T) {
	settings, err := crashSettings(1)
	if err != nil {
		t.Fatal(err)
	}
	disk := vfs.NewCrashable()
	var broken atomic.Bool
	tr := &trial{seed: 1, flush: 1, settings: settings}
	l, _ := tr.life("", disk, newLedger(), 1, 0)
	l.fs = vfs.Inject(disk, func(op vfs.Op) error {
		in := op.Kind == vfs.OpSyncFile && strings.HasSuffix(op.Name, ".log") && strings.Contains(op.Name, "@catalog")
		if in && broken.CompareAndSwap(true, false) {
			return errors.Join(syscall.EIO, disk.Drop(op.Name))
		}
		return nil
	})
	if err := l.start(); err != nil {
		t.Fatal(err)
	}
	c := l.users[0]
	c.rand = l.rand
	if err := errors.Join(c.createTopics("a", "b"), c.newProducer(), c.produce()); err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	for range 3 { // the first one breaks it, the others find that it stays so
		refusesChanges(t, c)
	}
	for range 10 {
		if err := errors.Join(c.produce(), c.consume()); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.stop(); !errors.Is(err, syscall.EIO) {
		t.Errorf("the broker stopped with %v", err)
	}
	if err := l.violations(); err != nil {
		t.Fatal(err)
	}
	for id := range l.ledger.topics.live {
		l.ledger.topics.deleting[id] = true // that was asked for, and may have come to the disk
	}
	for _, p := range []point{
		{"kill", disk.Kill(), l.ledger.copy(), false, 1},
		{"power cut", disk.Crash(l.rand), l.ledger.copy(), false, 2},
	} {
		if err := tr.survive(p, 0); err != nil {
			t.Error(err)
		}
	}
}

// refusesChanges asks for a topic in two ways, and for the deletion of another.
func refusesChanges(t *testing.T, c *user) {
	t.Helper()
	create, _ := c.creation("e")
	created, err := ask[*kmsg.CreateTopicsResponse](c.wire, create, 7)
	if err != nil {
		t.Fatal(err)
	}
	if err := kerr.ErrorForCode(created.Topics[0].ErrorCode); err != kerr.KafkaStorageError {
		t.Errorf("CreateTopics: %v", err)
	}
	name := "auto-0"
	unlock := c.lock()
	c.ledger.topics.creating(topic{name: name, partitions: 2})
	unlock()
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.AllowAutoTopicCreation = true
	metadata.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
	shown, err := ask[*kmsg.MetadataResponse](c.wire, metadata, 12)
	if err != nil {
		t.Fatal(err)
	}
	if err := kerr.ErrorForCode(shown.Topics[0].ErrorCode); err != kerr.UnknownTopicOrPartition {
		t.Errorf("Metadata: %v", err)
	}
	remove := kmsg.NewPtrDeleteTopicsRequest()
	remove.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr("a")}}
	removed, err := ask[*kmsg.DeleteTopicsResponse](c.wire, remove, 6)
	if err != nil {
		t.Fatal(err)
	}
	if err := kerr.ErrorForCode(removed.Topics[0].ErrorCode); err != kerr.KafkaStorageError {
		t.Errorf("DeleteTopics: %v", err)
	}
}
