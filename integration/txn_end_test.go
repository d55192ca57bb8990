//go:build integration && unix

package integration

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// inVersions runs a test on a broker of its own in each version of transactions, with a topic of two partitions.
func inVersions(t *testing.T, test func(t *testing.T, b *broker, version int16)) {
	for _, version := range millVersions {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			b := start(t)
			b.setTransactionVersion(t, version)
			b.createTopic(t, handTopic, 2)
			test(t, b, version)
		})
	}
}

// shows expects that these values, in any order, are what is committed once nothing is open any more.
func (b *broker) shows(t testing.TB, want ...string) {
	t.Helper()
	adm := b.admin(t)
	defer adm.Close()
	eventually(t, patience, "no transaction is open", func() bool {
		ends, err := adm.ListEndOffsets(within(t, patience), handTopic)
		stable, failed := adm.ListCommittedOffsets(within(t, patience), handTopic)
		if err := errors.Join(err, failed, ends.Error(), stable.Error()); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(ends.Offsets()) == fmt.Sprint(stable.Offsets())
	})
	got := b.committed(t, handTopic, 2)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("committed are %v, want %v", got, want)
	}
}

// TestDelayedEnd: a request to end a transaction that the network has held back comes when it was sent again and answered,
// and the next transaction is open (KAFKA-17754). In version 2 it is refused and decides nothing. In version 1 nothing tells it
// from the next transaction's own: it ends that one, and this is on record.
func TestDelayedEnd(t *testing.T) {
	inVersions(t, func(t *testing.T, b *broker, version int16) {
		h := newHand(t, b, "delayed", version)
		h.want("init", h.init(), nil)
		h.write(0, "a1")
		h.write(1, "a2")
		held := h.ending(true)
		h.want("commit", h.end(true), nil)

		h.write(0, "b1")
		_, err := h.deliver(held)
		if version < 2 {
			h.want("the commit that was held back", err, nil)
			b.shows(t, "a1", "a2", "b1")
			_, err = h.send(0, h.batch(0, "b2"))
			h.want("go on", err, kerr.InvalidTxnState, kerr.TransactionAbortable)
			return
		}
		h.want("the commit that was held back", err, kerr.ProducerFenced)
		h.write(0, "b2")
		h.write(1, "b3")
		b.crash()
		_, err = h.deliver(held)
		h.want("the commit that was held back, after a restart", err, kerr.ProducerFenced)
		h = h.again()
		h.want("abort", h.end(false), nil)
		b.shows(t, "a1", "a2")
		_, err = h.deliver(held)
		h.want("the commit that was held back, for the third time", err, kerr.ProducerFenced)
		b.shows(t, "a1", "a2")
	})
}

// TestResumedTransaction: as Flink does, another process commits a transaction with nothing but its transactional id, producer
// id and epoch, and does so again when it is not sure. A transaction in which there is nothing can be committed, too.
func TestResumedTransaction(t *testing.T) {
	inVersions(t, func(t *testing.T, b *broker, version int16) {
		cl := b.client(t, kgo.TransactionalID("flink"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(2) {
			produce(t, cl, &kgo.Record{Topic: handTopic, Partition: p, Value: fmt.Append(nil, "resumed", p)})
		}
		h := newHand(t, b, "flink", version)
		var err error
		if h.producer, h.epoch, err = cl.ProducerID(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		cl.Close() // the first process is gone
		b.crash()
		h.w = b.dial(t)
		commit := h.ending(true)
		for _, when := range []string{"commit", "commit again", "commit again after a restart"} {
			_, failed := h.deliver(commit)
			h.want(when, failed, nil)
			b.shows(t, "resumed0", "resumed1")
			b.crash()
		}

		empty := b.client(t, kgo.TransactionalID("empty"), kgo.DefaultProduceTopic(handTopic))
		for range 2 {
			if err := empty.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := empty.EndTransaction(within(t, patience), kgo.TryCommit); err != nil {
				t.Errorf("commit a transaction in which there is nothing: %v", err)
			}
		}
		transact(t, empty, handTopic, 1, kgo.TryCommit, "after nothing")
		b.shows(t, "resumed0", "resumed1", "after nothing")
	})
}

// TestFencedProducer: once another one has taken a transactional id, what the one before it has open is aborted, and whatever
// it tries is refused with the code by which its client knows.
func TestFencedProducer(t *testing.T) {
	inVersions(t, func(t *testing.T, b *broker, version int16) {
		old := newHand(t, b, "id", version)
		old.want("init", old.init(), nil)
		old.write(0, "old")
		heir := newHand(t, b, "id", version)
		heir.want("init", heir.init(), nil)
		if heir.producer != old.producer || heir.epoch <= old.epoch {
			t.Errorf("producer %d at epoch %d follows %d at %d", heir.producer, heir.epoch, old.producer, old.epoch)
		}
		b.shows(t)

		_, err := old.send(0, old.batch(0, "late"))
		old.want("produce", err, kerr.InvalidProducerEpoch)
		_, err = old.send(1, old.batch(1, "late"))
		old.want("produce elsewhere", err, kerr.InvalidProducerEpoch)
		old.want("add a partition", old.add(1), kerr.ProducerFenced)
		old.want("commit", old.end(true), kerr.ProducerFenced)
		old.want("abort", old.end(false), kerr.ProducerFenced)
		old.want("recover", old.initAs(old.producer, old.epoch), kerr.ProducerFenced)

		heir.write(0, "new")
		old.want("commit what is not its own", old.end(true), kerr.ProducerFenced)
		b.crash()
		old, heir = old.again(), heir.again()
		old.want("commit what is not its own, after a restart", old.end(true), kerr.ProducerFenced)
		heir.want("commit", heir.end(true), nil)
		b.shows(t, "new")

		// franz-go tells its application.
		cls := []*kgo.Client{nil, nil}
		for i := range cls {
			cls[i] = b.client(t, kgo.TransactionalID("franz"), kgo.DefaultProduceTopic(handTopic))
			if err := cls[i].BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			produce(t, cls[i], kgo.StringRecord(fmt.Sprint("franz", i)))
		}
		if err := cls[0].EndTransaction(within(t, patience), kgo.TryCommit); !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) {
			t.Errorf("commit by a client that is fenced: %v", err)
		}
		if err := cls[1].EndTransaction(within(t, patience), kgo.TryCommit); err != nil {
			t.Error(err)
		}
		b.shows(t, "new", "franz1")
	})
}

// TestAbortAndGoOn: after an abort, whatever the reason, a producer goes on where it was: with the next sequence number in version
// 1, from the beginning in version 2. After its transaction has timed out it goes on once it has its id again: in version 2 by
// saying who it was, in version 1 as a new one, for nobody else may have taken its place then.
func TestAbortAndGoOn(t *testing.T) {
	inVersions(t, func(t *testing.T, b *broker, version int16) {
		h := newHand(t, b, "id", version)
		h.want("init", h.init(), nil)
		for i := range 5 {
			h.write(0, "aborted", "aborted")
			h.write(1, "aborted")
			h.want("abort", h.end(false), nil)
			h.write(0, fmt.Sprint("kept", i))
			h.want("commit", h.end(true), nil)
		}
		b.shows(t, "kept0", "kept1", "kept2", "kept3", "kept4")

		h.timeout = 200 * time.Millisecond
		h.want("init", h.initAs(h.producer, h.epoch), nil)
		h.write(0, "too late")
		eventually(t, patience, "the transaction times out", func() bool {
			adm := b.admin(t)
			defer adm.Close()
			described, err := adm.DescribeTransactions(within(t, patience), "id")
			return err == nil && described["id"].State == "CompleteAbort"
		})
		if version < 2 {
			h.want("commit what has timed out", h.end(true), kerr.ProducerFenced)
		} else { // it looks like its own commit again, of what it has aborted
			h.want("commit what has timed out", h.end(true), kerr.InvalidTxnState)
		}
		_, err := h.send(0, h.batch(0, "much too late"))
		h.want("produce", err, kerr.InvalidProducerEpoch)
		h.timeout = time.Minute
		if version < 2 {
			h.want("recover", h.initAs(h.producer, h.epoch), kerr.ProducerFenced)
			h.want("begin anew", h.init(), nil)
		} else {
			h.want("recover", h.initAs(h.producer, h.epoch), nil)
		}
		h.write(0, "recovered")
		h.want("commit", h.end(true), nil)
		b.shows(t, "kept0", "kept1", "kept2", "kept3", "kept4", "recovered")
	})
}

// TestRepeatedRequests: whatever a producer sends again, for its answer was lost, is answered as before and done once, also after
// a restart.
func TestRepeatedRequests(t *testing.T) {
	inVersions(t, func(t *testing.T, b *broker, version int16) {
		h := newHand(t, b, "id", version)
		h.want("init", h.init(), nil)
		if version < 2 {
			h.want("add a partition", h.add(0), nil)
			h.want("add it again", h.add(0), nil)
		}
		const batches = 5 // that a producer may have under way
		sent := make([]func() (int64, *kerr.Error), batches)
		for i := range sent {
			batch := h.batch(0, fmt.Sprint("v", i, "a"), fmt.Sprint("v", i, "b"))
			sent[i] = func() (int64, *kerr.Error) { return h.send(0, batch) }
			base, err := sent[i]()
			if h.want("produce", err, nil); base != int64(2*i) {
				t.Errorf("batch %d is at %d", i, base)
			}
		}
		repeat := func(when string) {
			t.Helper()
			for i, again := range sent {
				base, err := again()
				if h.want("produce again "+when, err, nil); base != int64(2*i) {
					t.Errorf("batch %d is at %d when it is sent again %s, want %d", i, base, when, 2*i)
				}
			}
		}
		repeat("in the transaction")
		b.crash()
		h.w = b.dial(t)
		repeat("after a restart")
		commit := h.ending(true)
		_, err := h.deliver(commit)
		h.want("commit", err, nil)
		b.crash()
		h.w = b.dial(t)
		for _, when := range []string{"once", "twice"} {
			resp, err := h.deliver(commit)
			h.want("commit again "+when, err, nil)
			if version >= 2 && (resp.ProducerEpoch != commit.ProducerEpoch+1 || resp.ProducerID != commit.ProducerID) {
				t.Errorf("commit again %s: the next epoch is %d of producer %d", when, resp.ProducerEpoch, resp.ProducerID)
			}
		}
		abort := *commit
		abort.Commit = false
		_, err = h.deliver(&abort)
		h.want("abort what is committed", err, kerr.InvalidTxnState)
		var all []string
		for i := range batches {
			all = append(all, fmt.Sprint("v", i, "a"), fmt.Sprint("v", i, "b"))
		}
		b.shows(t, all...)
	})
}
