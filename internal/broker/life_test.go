package broker

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/config"
	"segue/storage/record"
	"segue/storage/vfs"
)

// The log directories of the brokers here: the first one, which has the catalog, or both.
const (
	dataDir   = "/data"
	secondDir = "/more"
)

// life is one broker on a disk, from its start to its end, and the clients that work with it.
type life struct {
	settings *config.Layers
	disk     *vfs.Crashable
	fs       vfs.FS // the disk, with whatever is done to it
	ledger   *ledger
	rand     *rand.Rand // of the test's goroutine
	faulty   bool       // operations on the disk fail: then requests may, too
	values   *numbers
	follow   func(prev, next *catalog.Image) // is told of the catalog's images; may be nil

	broker  *Broker
	cluster string
	epoch   int32
	users   []*user

	mu    sync.Mutex // guards what follows
	wrong []error
	log   bytes.Buffer // of warnings
}

// numbers gives every record a value of its own.
type numbers struct {
	mu   sync.Mutex
	last int
}

func (n *numbers) next() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	return n.last
}

// crashSettings are those of all lives: little of everything, so that everything happens soon.
func crashSettings(flushMessages int, dirs ...string) (*config.Layers, error) {
	list, err := config.ReadOverrides([]string{
		"listeners=PLAINTEXT://127.0.0.1:0", "http.listener=", "log.dirs=" + strings.Join(append([]string{dataDir}, dirs...), ","), "num.partitions=2",
		fmt.Sprintf("log.flush.interval.messages=%d", flushMessages),
		"log.index.size.max.bytes=1024", "log.index.interval.bytes=200", "log.retention.ms=-1",
		"offsets.topic.num.partitions=2", "transaction.state.log.num.partitions=2",
	})
	if err != nil {
		return nil, err
	}
	layers, _, err := config.New(list)
	return layers, err
}

// Write collects the broker's warnings.
func (l *life) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

func (l *life) violated(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Errorf(format, args...))
}

// violations returns what was found to be wrong, with the broker's warnings.
func (l *life) violations() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%w\nthe broker's log:\n%s", errors.Join(l.wrong...), strings.TrimSpace(l.log.String()))
}

// lock locks the ledger, and returns what unlocks it.
func (l *life) lock() (unlock func()) {
	l.ledger.mu.Lock()
	return l.ledger.mu.Unlock
}

// start starts the broker and connects the clients.
func (l *life) start() error {
	b, err := New(context.Background(), Config{
		Settings: l.settings, Log: zerolog.New(l).Level(zerolog.WarnLevel), Version: "test", Started: time.Now(), FS: l.fs,
		Tuning: Tuning{SnapshotAfter: 6, CatalogSegmentBytes: 2 << 10, ReserveBytes: 16 << 10},
	})
	if err != nil {
		return err
	}
	b.Start()
	if l.follow != nil {
		b.catalog.Watch(l.follow) // for as long as the broker lives
	}
	l.broker, l.epoch = b, b.catalog.Image().StartCount()
	for range usersOfALife {
		w, err := dial(b.Addr("PLAINTEXT"))
		if err != nil {
			return errors.Join(err, l.stop())
		}
		l.users = append(l.users, &user{life: l, wire: w, number: len(l.users)})
	}
	return nil
}

// stop stops the broker. A broker whose disk is sound stops without an error.
func (l *life) stop() error {
	for _, c := range l.users {
		c.wire.close()
	}
	l.users = nil
	if l.broker == nil {
		return nil
	}
	begun := time.Now()
	err := l.broker.Shutdown(context.Background())
	if took := time.Since(begun); took > patience {
		l.violated("the broker took %v to stop", took)
	}
	l.broker = nil
	return err
}

// audit holds what the broker shows against the ledger.
func (l *life) audit(weak bool) {
	a := &audit{life: l, rand: l.rand, wire: l.users[0].wire, weak: weak, epoch: l.epoch}
	a.run()
}

// auditFolders checks, when the broker has stopped, that every folder on the disk is a live topic's. With strays it lets
// pass what was set aside of other topics: where a deleted topic's folder could not be renamed, the next one of that name
// does that to it.
func (l *life) auditFolders(strays bool) {
	defer l.lock()()
	live := map[string]bool{"@catalog-0": true, "segue.reserve": true}
	ids := map[string]bool{}
	for _, t := range l.ledger.topics.live {
		ids[hex.EncodeToString(t.id[:])] = true
		for p := range t.partitions {
			live[fmt.Sprintf("%s-%d", t.name, p)] = true
		}
	}
	for _, dir := range l.settings.Broker().LogDirs {
		entries, err := l.disk.ReadDir(dir)
		if err != nil {
			l.violated("%w", err)
		}
		for _, e := range entries {
			stray, set := strings.CutSuffix(e.Name, "-stray")
			if !e.Dir || live[e.Name] || set && strays && !ids[stray[max(0, len(stray)-32):]] {
				continue
			}
			in, _ := l.disk.ReadDir(filepath.Join(dir, e.Name))
			l.violated("folder %s is left, and no topic's; it holds %v", e.Name, in)
		}
	}
}

// The records' timestamps are in no order.
const (
	firstTimestamp = 1_700_000_000_000
	timestampRange = 1000
)

// newBatch returns a batch of new records. A negative producer id stands for a producer that is not idempotent.
func (l *life) newBatch(producer int64, epoch int16, sequence int32, records int) *sentBatch {
	b := record.NewBuilder(0)
	if producer >= 0 {
		b.ProducerID, b.ProducerEpoch, b.BaseSequence = producer, epoch, sequence
	}
	for range records {
		n := l.values.next()
		value := fmt.Appendf(nil, "%d:", n)
		b.Add(firstTimestamp+int64(n)*7919%timestampRange, nil, append(value, bytes.Repeat([]byte{'x'}, n*131%700)...))
	}
	batch, err := b.Build()
	if err != nil {
		panic(err) // the arguments are the test's own
	}
	return asSent(batch, l.epoch)
}

// sending notes deliveries that are about to be sent.
func (l *life) sending(deliveries ...delivery) {
	defer l.lock()()
	for _, d := range deliveries {
		told := l.ledger.records.log(d.topic, d.partition)
		told.sent = append(told.sent, d.batch)
	}
}

// delivered notes the answer to a delivery.
func (l *life) delivered(d delivery, p *kmsg.ProduceResponseTopicPartition) {
	defer l.lock()()
	if l.ledger.topics.gone[d.topic.id] {
		return
	}
	told := l.ledger.records.log(d.topic, d.partition)
	epoch := int32(-1) // it may be a retry of what an earlier broker has written
	if d.batch.epoch == l.epoch {
		epoch = l.epoch
	}
	told.told = append(told.told, toldBatch{d.batch, p.BaseOffset, epoch})
	told.show(p.LogStartOffset, p.BaseOffset+int64(d.batch.Count()))
}

// deliver sends one batch and returns how it was answered.
func (l *life) deliver(w *wire, d delivery) (base int64, err error) {
	l.sending(d)
	resp, err := ask[*kmsg.ProduceResponse](w, produceRequest(-1, []delivery{d}), produceVersion)
	if err != nil {
		return -1, err
	}
	p := &resp.Topics[0].Partitions[0]
	if p.ErrorCode == 0 {
		l.delivered(d, p)
	}
	return p.BaseOffset, kerr.ErrorForCode(p.ErrorCode)
}

// takeProducerID asks for a producer id and notes it.
func (l *life) takeProducerID(w *wire) (int64, error) {
	id, err := newProducerID(w)
	if err != nil {
		return -1, err
	}
	defer l.lock()()
	if l.ledger.producers.handedOut(id) {
		l.violated("producer id %d was handed out twice", id)
	}
	return id, nil
}
