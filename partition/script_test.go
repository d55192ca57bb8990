package partition_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/partition"
	"segue/partition/logtest"
	"segue/storage"
	"segue/storage/record"
)

var theID = storage.Identity{Topic: "topic", TopicID: [16]byte{1}, Partition: 0}

// testConfig has Kafka's defaults for a topic.
func testConfig() partition.Config {
	return partition.Config{
		Log:                logtest.Config(),
		MaxMessageBytes:    1<<20 + 12,
		TimestampBeforeMax: partition.NoLimit,
		TimestampAfterMax:  time.Hour,
		ProducerExpiry:     24 * time.Hour,
	}
}

func codecs() *partition.Codecs { return partition.NewCodecs(4 << 20) }

// code returns the code of an error as its name, "ok" for nil.
func code(err error) string {
	var coded *kerr.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &coded):
		return coded.Message
	}
	return "no code: " + err.Error()
}

// TestScripts runs the scripts in testdata/scripts. A script has one command on a line, what it is to answer behind
// "=>", and the rest of a line behind # is for the reader. Each script runs on a clock of its own against one partition
// over a log in memory. The commands are the methods of player whose names begin with do.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				newPlayer(t).play(file, string(script))
			})
		})
	}
}

// player plays a script.
type player struct {
	*testing.T
	store   *logtest.Memory
	log     *logtest.MemoryLog
	config  partition.Config
	epoch   int32
	p       *partition.Partition
	guards  map[string]partition.Guard
	acks    map[string]chan error
	waiters map[string]*partition.Waiter
	line    string
}

func newPlayer(t *testing.T) *player {
	p := &player{T: t, store: logtest.NewMemory(), config: testConfig(), guards: map[string]partition.Guard{}, acks: map[string]chan error{}, waiters: map[string]*partition.Waiter{}}
	p.log = p.store.Log(theID)
	p.open()
	return p
}

func (p *player) open() {
	p.Helper()
	var err error
	p.p, err = partition.Open(context.Background(), p.store, theID, p.epoch, p.config, codecs())
	if err != nil {
		p.Fatalf("%s: open: %v", p.line, err)
	}
}

func (p *player) play(file, script string) {
	commands := map[string]func(args) string{
		"append": p.doAppend, "guard": p.doGuard, "marker": p.doMarker, "transactions": p.doTransactions, "ack": p.doAck, "watch": p.doWatch, "unwatch": p.doUnwatch, "rang": p.doRang,
		"offsets": p.doOffsets, "read": p.doRead, "epochEnd": p.doEpochEnd, "epochOf": p.doEpochOf,
		"time": p.doTime, "maxTime": p.doMaxTime, "delete": p.doDelete, "producers": p.doProducers,
		"checkpoint": p.doCheckpoint, "hold": p.doHold, "commit": p.doCommit, "fail": p.doFail, "refuse": p.doRefuse,
		"crash": p.doCrash, "reopen": p.doReopen, "close": p.doClose, "sleep": p.doSleep, "config": p.doConfig,
	}
	for n, line := range strings.Split(script, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		p.line = fmt.Sprintf("%s:%d: %s", file, n+1, line)
		command, want, _ := strings.Cut(line, "=>")
		words := strings.Fields(command)
		do := commands[words[0]]
		if do == nil {
			p.Fatalf("%s: no such command", p.line)
		}
		got := do(args{p.T, p.line, words[1:]})
		synctest.Wait()
		if want = strings.TrimSpace(want); got != want && (want != "" || got != "ok") {
			p.Errorf("%s\n\tgot %s", p.line, got)
		}
	}
	if n := p.store.Pinned(); n != 0 {
		p.Errorf("%s: %d chunks were not released", file, n)
	}
}

// args are the words behind a command: name=value, or a value by itself.
type args struct {
	*testing.T
	line  string
	words []string
}

func (a args) value(name string) (string, bool) {
	for _, w := range a.words {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return v, true
		}
	}
	return "", false
}

func (a args) has(word string) bool { return slices.Contains(a.words, word) }

func (a args) number(name string, otherwise int64) int64 {
	v, ok := a.value(name)
	if !ok {
		return otherwise
	}
	return a.parse(v)
}

func (a args) parse(v string) int64 {
	if v == "max" {
		return math.MaxInt32
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		a.Fatalf("%s: %v", a.line, err)
	}
	return n
}

func (a args) first() int64 {
	if len(a.words) == 0 {
		a.Fatalf("%s: a number is missing", a.line)
	}
	return a.parse(a.words[0])
}

// spec is the batch that a command names.
func (a args) spec() logtest.Spec {
	return logtest.Spec{
		Records: int(a.number("n", 1)), Time: a.number("t", time.Now().UnixMilli()), Step: a.number("step", 0),
		Producer: a.number("id", -1) + 1, ProducerEpoch: int16(a.number("e", 0)), Sequence: int32(a.number("seq", 0)),
		Transactional: a.has("txn"), Control: a.has("control"),
	}
}

// doGuard: guard name id=1 e=0 seq=0 bumps. Whether the coordinator has to be asked.
func (p *player) doGuard(a args) string {
	g, ask, err := p.p.Guard(a.spec().Batch(p.T).Header, a.has("bumps"))
	switch {
	case err != nil:
		return code(err)
	case !ask:
		return "open"
	}
	p.guards[a.words[0]] = g
	return "ask"
}

// doMarker: marker commit id=1 e=0 coordinator=3 version=2, or marker abort.
func (p *player) doMarker(a args) string {
	ack, err := p.p.AppendMarker(context.Background(), -1, partition.Marker{
		ProducerID: a.number("id", -1), ProducerEpoch: int16(a.number("e", 0)), Commit: a.has("commit"),
		CoordinatorEpoch: int32(a.number("coordinator", 0)), Version: int16(a.number("version", 0)),
	})
	if err != nil {
		return code(err)
	}
	return fmt.Sprintf("%d..%d", ack.Base, ack.Next)
}

func (p *player) doTransactions(args) string {
	s := p.p.Transactions()
	return fmt.Sprintf("open=%d oldest=%d behind=%d", s.Open, s.Oldest, s.Behind)
}

// doAppend: append n=3 id=1 e=0 seq=0 t=100 epoch=2 base=0 by=coordinator ack=name txn control guard=name. Without id the
// producer is not idempotent.
func (p *player) doAppend(a args) string {
	spec := a.spec()
	from := partition.Client
	if a.has("by=coordinator") {
		from = partition.Coordinator
		spec.Sequence = record.NoSequence
	}
	b := spec.Batch(p.T)
	b.SetBaseOffset(record.Offset(a.number("base", 0)))
	name, _ := a.value("guard")
	one := []partition.Addition{{Batch: b, Guard: p.guards[name]}}
	p.p.AppendAll(context.Background(), int32(a.number("epoch", -1)), one, from)
	ack, err := one[0].Ack, one[0].Err
	if err != nil {
		return code(err)
	}
	if name, ok := a.value("ack"); ok {
		done := make(chan error, 1)
		p.acks[name] = done
		go func() { done <- ack.Wait(context.Background()) }()
	}
	answer := fmt.Sprintf("%d..%d", ack.Base, ack.Next)
	if ack.Duplicate {
		answer += " duplicate"
	}
	if ack.AppendTime != -1 {
		answer += fmt.Sprintf(" at %d", ack.AppendTime)
	}
	return answer
}

// doAck: ack name. Whether the ack came.
func (p *player) doAck(a args) string {
	select {
	case err := <-p.acks[a.words[0]]:
		return code(err)
	default:
		return "waits"
	}
}

// doWatch: watch name beyond=3 committed.
func (p *player) doWatch(a args) string {
	w := p.waiters[a.words[0]]
	if w == nil {
		w = partition.NewWaiter()
		p.waiters[a.words[0]] = w
	}
	p.p.Watch(w, record.Offset(a.number("beyond", 0)), a.has("committed"))
	return "ok"
}

func (p *player) doUnwatch(a args) string {
	p.p.Unwatch(p.waiters[a.words[0]])
	return "ok"
}

// doRang: rang name. Whether the waiter rang since it was asked last.
func (p *player) doRang(a args) string {
	select {
	case <-p.waiters[a.words[0]].C():
		return "yes"
	default:
		return "no"
	}
}

func (p *player) doOffsets(args) string {
	o := p.p.Offsets()
	return fmt.Sprintf("start=%d stable=%d high=%d end=%d epoch=%d", o.LogStart, o.LastStable, o.HighWatermark, o.LogEnd, o.LeaderEpoch)
}

// doRead: read at=3 max=100 atleastone current=0 last=0 committed. The offsets of what was read.
func (p *player) doRead(a args) string {
	r, err := p.p.Read(context.Background(), partition.ReadRequest{
		Offset: record.Offset(a.number("at", 0)), MaxBytes: int(a.number("max", 1<<20)), AtLeastOne: a.has("atleastone"),
		CurrentEpoch: int32(a.number("current", -1)), LastFetchedEpoch: int32(a.number("last", -1)), ReadCommitted: a.has("committed"),
	})
	if err != nil {
		return code(err)
	}
	defer r.Chunk.Release()
	if r.Diverging != nil {
		return fmt.Sprintf("diverging epoch=%d end=%d", r.Diverging.Epoch, r.Diverging.End)
	}
	b, err := r.Chunk.AppendTo(nil)
	if err != nil {
		p.Fatalf("%s: %v", p.line, err)
	}
	var found []string
	for len(b) > 0 {
		batch, rest, err := record.Parse(b)
		if err != nil {
			p.Fatalf("%s: %v", p.line, err)
		}
		found = append(found, fmt.Sprintf("%d..%d", batch.BaseOffset(), batch.NextOffset()))
		b = rest
	}
	for _, aborted := range r.Aborted {
		found = append(found, fmt.Sprintf("aborted=%d@%d", aborted.ProducerID, aborted.FirstOffset))
	}
	if len(found) == 0 {
		return "nothing"
	}
	return strings.Join(found, " ")
}

func (p *player) doEpochEnd(a args) string {
	e := p.p.EpochEnd(int32(a.first()))
	return fmt.Sprintf("epoch=%d end=%d", e.Epoch, e.End)
}

func (p *player) doEpochOf(a args) string {
	return fmt.Sprint(p.p.EpochOf(record.Offset(a.first())))
}

func found(f partition.FoundOffset, err error) string {
	if err != nil {
		return code(err)
	}
	return fmt.Sprintf("offset=%d time=%d epoch=%d", f.Offset, f.Timestamp, f.LeaderEpoch)
}

func (p *player) doTime(a args) string {
	return found(p.p.OffsetForTime(context.Background(), a.first(), a.has("committed")))
}

func (p *player) doMaxTime(a args) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return found(p.p.MaxTimestamp(ctx, a.has("committed")))
}

func (p *player) doDelete(a args) string {
	start, err := p.p.DeleteBefore(context.Background(), record.Offset(a.first()))
	if err != nil {
		return code(err)
	}
	return fmt.Sprintf("start=%d", start)
}

func (p *player) doProducers(args) string {
	states := p.p.Producers()
	slices.SortFunc(states, func(a, b partition.ProducerState) int { return int(a.ProducerID - b.ProducerID) })
	var lines []string
	for _, s := range states {
		lines = append(lines, fmt.Sprintf("id=%d e=%d seq=%d t=%d", s.ProducerID, s.Epoch, s.LastSequence, s.LastTimestamp))
		if s.CoordinatorEpoch >= 0 || s.TxnStart >= 0 {
			lines[len(lines)-1] += fmt.Sprintf(" coordinator=%d txn=%d", s.CoordinatorEpoch, s.TxnStart)
		}
	}
	if lines == nil {
		return "none"
	}
	return strings.Join(lines, ", ")
}

func (p *player) doCheckpoint(args) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	saves := p.log.Saves()
	if err := p.p.Checkpoint(ctx); err != nil {
		return code(err)
	}
	return fmt.Sprintf("saved=%d", p.log.Saves()-saves)
}

func (p *player) doHold(args) string { p.log.Hold(); return "ok" }

// doCommit: commit, or commit 5.
func (p *player) doCommit(a args) string {
	if len(a.words) == 0 {
		p.log.CommitAll()
	} else {
		p.log.Commit(record.Offset(a.first()))
	}
	return "ok"
}

func (p *player) doFail(args) string { p.log.Fail(logtest.ErrDisk); return "ok" }

// doRefuse: refuse on, refuse off.
func (p *player) doRefuse(a args) string {
	if a.has("on") {
		p.log.RefuseWrites(logtest.ErrDisk)
	} else {
		p.log.RefuseWrites(nil)
	}
	return "ok"
}

// doCrash: crash 2. Kills the broker; as many batches survive of what was not committed. The next start has a higher
// leader epoch.
func (p *player) doCrash(a args) string {
	p.log.Crash(int(a.first()))
	p.epoch++
	p.open()
	return "ok"
}

func (p *player) doReopen(args) string {
	if err := p.p.Close(context.Background()); err != nil {
		return code(err)
	}
	p.epoch++
	p.open()
	return "ok"
}

func (p *player) doClose(args) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return code(p.p.Close(ctx))
}

// doSleep: sleep 25h.
func (p *player) doSleep(a args) string {
	d, err := time.ParseDuration(a.words[0])
	if err != nil {
		p.Fatalf("%s: %v", p.line, err)
	}
	time.Sleep(d) // on the bubble's clock
	return "ok"
}

// doConfig: config logappendtime compact=true delete=false.
func (p *player) doConfig(a args) string {
	if a.has("logappendtime") {
		p.config.TimestampType = record.LogAppendTime
	}
	if a.has("createtime") {
		p.config.TimestampType = record.CreateTime
	}
	p.config.Log.Compact = a.has("compact")
	p.config.Log.Delete = !a.has("nodelete")
	p.p.Configure(p.config)
	return "ok"
}
