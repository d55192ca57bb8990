package txn

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// TestSimulation has producers of both protocols write transactions into partitions while the machine crashes at random, markers
// come late and more than once, answers are lost, requests arrive twice and long after, transactions run out of time and producers
// out of epochs. It checks:
//
//   - All that world checks, after every command.
//   - A transaction is committed in all partitions or aborted in all, and what its producer was told is so.
//   - No record comes into a partition after its transaction is decided, or into another one.
//   - A marker is never refused that has something to end.
//   - Every request is answered, once, in time; when the trouble ends nothing is open anywhere.
func TestSimulation(t *testing.T) {
	seeds, steps := 24, 2500
	if os.Getenv("SEGUE_LONG") != "" {
		seeds, steps = 300, 20_000
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := newSimulation(t, uint64(seed))
			for range steps {
				s.step()
			}
			s.settle()
			if s.committed == 0 || s.aborted == 0 {
				t.Errorf("%d transactions were committed and %d aborted", s.committed, s.aborted)
			}
		})
	}
}

// simulation is a world with producers and partitions.
type simulation struct {
	w         *world
	rng       *rand.Rand
	producers []*producer
	logs      map[Partition]*partitionModel
	asked     map[coordinator.Token]*call
	late      []any // requests that arrive once more, from nobody
	left      map[Complete][]Partition
	tags      int          // of transactions
	outcomes  map[int]bool // of transactions that were decided in some partition
	promised  map[int]bool // what a producer was told
	calm      bool

	committed, aborted int
}

// partitionModel is what a partition knows of producers (partition.checkMarker and partition.Guard in short).
type partitionModel struct {
	epochs map[int64]int16
	open   map[int64]openModel
	ended  map[int64]int // markers
}

type openModel struct {
	epoch int16
	tag   int
}

// call is a request under way, and what is done with its answer.
type call struct {
	by      *producer
	request any
	then    func(reply any)
}

// producer is a client.
type producer struct {
	s       *simulation
	id      string // its transactional id
	version int16  // of the protocol
	timeout int32
	call    *call
	lost    bool // the answer
	pause   time.Time

	producerID int64
	epoch      int16
	ready      bool // it may begin a transaction
	resumes    bool // it says who it was
	tag        int  // of its transaction; 0 for none
	added      map[Partition]bool
	wrote      bool
	ending     *kmsg.EndTxnRequest // that was sent for it
}

func newSimulation(t testing.TB, seed uint64) *simulation {
	s := &simulation{
		rng: rand.New(rand.NewPCG(seed, 7)), logs: map[Partition]*partitionModel{}, asked: map[coordinator.Token]*call{},
		left: map[Complete][]Partition{}, outcomes: map[int]bool{}, promised: map[int]bool{},
	}
	version := int16(1 + seed%2)
	s.w = newWorld(t, version, func(o *Options) {
		o.Waiting = 4
		o.Expiration, o.ExpireEvery = 5*time.Minute, time.Minute
	})
	for n := range 4 {
		p := &producer{s: s, id: fmt.Sprint("id-", n%3), version: version, timeout: int32(2000 + 1000*n)}
		if seed%4 >= 2 && n == 1 {
			p.version = 3 - version // another's client
		}
		s.producers = append(s.producers, p)
	}
	if seed%3 == 0 { // epochs soon run out
		for n := range 3 {
			id, _ := s.w.takeID()
			s.w.plant(&transaction{
				id: fmt.Sprint("id-", n), producerID: id, previousID: id, nextID: noProducerID, epoch: lastEpoch - 20,
				timeout: 1000, start: noTime, updated: start.UnixMilli(),
			})
		}
		s.w.reload(false)
	}
	for n := range 5 {
		s.logs[Partition{"t", int32(n)}] = &partitionModel{epochs: map[int64]int16{}, open: map[int64]openModel{}, ended: map[int64]int{}}
	}
	return s
}

// plant puts what was written long ago into the log.
func (w *world) plant(t *transaction) {
	rec := t.record(w.version)
	w.lastKeys[string(rec.Key)] = len(w.log)
	w.log = append(w.log, rec)
	if err := w.fold.Apply(rec); err != nil {
		w.t.Fatal(err)
	}
	w.highest[t.producerID] = t.epoch
	if err := w.m.Apply(rec); err != nil {
		w.t.Fatal(err)
	}
}

// step lets something happen.
func (s *simulation) step() {
	switch n := s.rng.IntN(1000); {
	case n < 650:
		s.producers[s.rng.IntN(len(s.producers))].act()
	case n < 850:
		s.mark()
	case n < 950:
		s.tick(time.Duration(s.rng.IntN(400)) * time.Millisecond)
	case n < 965 && len(s.late) > 0:
		s.again()
	case n < 985:
		s.trouble(s.producers[s.rng.IntN(len(s.producers))])
	case n < 990:
		s.w.ids = s.rng.IntN(3) // at hand
	case n < 991:
		s.tick(10 * time.Minute) // ids are forgotten
	case n < 997:
		s.crash(s.w.reload)
	}
}

// trouble makes something go wrong with a producer.
func (s *simulation) trouble(p *producer) {
	switch s.rng.IntN(5) {
	case 0: // it is killed and started again
		p.call = nil
		p.restart(false)
	case 1: // it hangs
		p.pause = s.w.now.Add(time.Duration(s.rng.IntN(8)) * time.Second)
	case 2: // its connection breaks
		p.lost = p.call != nil
	case 3: // it has had an error and goes on with a newer epoch
		if p.call == nil && p.ready {
			p.restart(true)
		}
	case 4: // an administrator looks on
		s.send(&call{request: List{LongerThan: -1}})
		s.send(&call{request: Describe{p.id}})
	}
}

// send has the machine handle a request. Now and then it crashes before the effects are written.
func (s *simulation) send(c *call) {
	if !s.calm && s.rng.IntN(150) == 0 {
		s.crash(func(compacted bool) coordinator.Effects {
			s.w.m.Handle(s.w.now, s.w.token+1, Input{Request: c.request})
			return s.w.reload(compacted)
		})
		return
	}
	s.asked[s.w.token+1] = c
	_, fx := s.w.do(c.request)
	s.took(fx)
}

// again has a request arrive a second time, whenever that is.
func (s *simulation) again() {
	i := s.rng.IntN(len(s.late))
	request := s.late[i]
	s.late[i] = s.late[len(s.late)-1]
	s.late = s.late[:len(s.late)-1]
	s.send(&call{request: request})
}

// crash loses all requests that wait, and what is known of markers.
func (s *simulation) crash(reload func(compacted bool) coordinator.Effects) {
	for _, e := range s.w.pending() { // what an earlier life had sent is reported late
		if s.rng.IntN(2) == 0 && len(s.left[e.Complete]) > 0 {
			s.left[e.Complete] = nil
		}
	}
	clear(s.left)
	fx := reload(s.rng.IntN(2) == 0)
	clear(s.asked)
	for _, p := range s.producers {
		p.lost = p.call != nil
	}
	s.took(fx)
}

// tick lets time pass.
func (s *simulation) tick(d time.Duration) {
	s.w.advance(d, s.took)
	for t, at := range s.w.waiting {
		if waits := s.w.now.Sub(at); waits > testPatience {
			s.w.t.Fatalf("request #%d has waited for %v", t, waits)
		}
	}
}

// took gives answers to those who wait for them, or loses them.
func (s *simulation) took(fx coordinator.Effects) {
	for _, r := range fx.Replies {
		c := s.asked[r.To]
		delete(s.asked, r.To)
		switch {
		case c == nil || c.by == nil || c.by.call != c:
		case !s.calm && s.rng.IntN(30) == 0:
			c.by.lost = true
		default:
			c.by.call = nil
			c.then(r.Message)
		}
	}
	if s.w.wants {
		s.w.wants, s.w.ids = false, 10
	}
}

// mark writes a marker that is asked for, into one partition at a time, and then has the transaction completed.
func (s *simulation) mark() {
	pending := s.w.pending()
	if len(pending) == 0 {
		return
	}
	e := pending[s.rng.IntN(len(pending))]
	if _, begun := s.left[e.Complete]; !begun {
		s.left[e.Complete] = append([]Partition(nil), e.Partitions...)
	}
	if left := s.left[e.Complete]; len(left) > 0 {
		i := s.rng.IntN(len(left))
		s.writeMarker(e, left[i])
		if s.rng.IntN(10) > 0 { // or it is written once more, because the answer was lost
			left[i] = left[len(left)-1]
			s.left[e.Complete] = left[:len(left)-1]
		}
		return
	}
	delete(s.left, e.Complete)
	if s.rng.IntN(10) == 0 {
		s.late = append(s.late, e.Complete)
	}
	s.took(s.w.finish(e.Complete))
}

// writeMarker ends a transaction in a partition.
func (s *simulation) writeMarker(e Ending, p Partition) {
	l := s.logs[p]
	open, isOpen := l.open[e.ProducerID]
	known, isKnown := l.epochs[e.ProducerID]
	refused := isKnown && (e.ProducerEpoch < known || e.Version >= 2 && e.ProducerEpoch == known && isOpen && known != 1<<15-1)
	switch {
	case refused:
		s.w.t.Fatalf("partition %v at epoch %d refuses the marker %+v; a transaction is open: %v", p, known, e, isOpen)
	case isOpen:
		s.decide(open.tag, e.Commit)
	}
	delete(l.open, e.ProducerID)
	l.epochs[e.ProducerID] = e.ProducerEpoch
	l.ended[e.ProducerID]++
}

// decide notes what has become of a transaction in a partition.
func (s *simulation) decide(tag int, commit bool) {
	before, decided := s.outcomes[tag]
	if decided && before != commit {
		s.w.t.Fatalf("transaction %d is committed in one partition and aborted in another", tag)
	}
	if promised, told := s.promised[tag]; told && promised != commit {
		s.w.t.Fatalf("the producer of transaction %d was told commit=%v, and it ended with commit=%v", tag, promised, commit)
	}
	if !decided && commit {
		s.committed++
	} else if !decided {
		s.aborted++
	}
	s.outcomes[tag] = commit
}

// write appends a record of a transaction to a partition, if that lets it in.
func (s *simulation) write(p Partition, o *producer, guard int) bool {
	l := s.logs[p]
	known, isKnown := l.epochs[o.producerID]
	open, isOpen := l.open[o.producerID]
	switch {
	case isKnown && o.epoch < known, !isOpen && l.ended[o.producerID] != guard:
		return false
	case isOpen && (open.epoch != o.epoch || open.tag != o.tag):
		s.w.t.Fatalf("%s writes %d into transaction %d of partition %v, which is open at epoch %d", o, o.tag, open.tag, p, open.epoch)
	}
	if outcome, decided := s.outcomes[o.tag]; decided && (outcome || !isOpen) { // into an open one that is to be aborted it may
		s.w.t.Fatalf("%s writes into %v after its transaction was decided: commit=%v", o, p, outcome)
	}
	l.open[o.producerID], l.epochs[o.producerID] = openModel{o.epoch, o.tag}, o.epoch
	return true
}

func (p *producer) String() string {
	return fmt.Sprintf("producer %d/%d of %s (version %d)", p.producerID, p.epoch, p.id, p.version)
}

// act lets a producer do its next thing.
func (p *producer) act() {
	switch {
	case p.s.w.now.Before(p.pause):
	case p.call != nil && p.lost: // it asks again
		p.lost = false
		p.s.send(p.call)
	case p.call != nil:
	case !p.ready:
		p.begin()
	case p.tag == 0 && p.s.calm:
	case p.tag == 0:
		p.s.tags++
		p.tag, p.added, p.wrote = p.s.tags, map[Partition]bool{}, false
	case p.ending == nil && (p.s.calm || p.s.rng.IntN(4) == 0):
		p.decide()
	case p.ending != nil:
		p.ask(p.ending, p.ended)
	default:
		p.produce(Partition{"t", int32(p.s.rng.IntN(len(p.s.logs)))})
	}
}

// ask sends a request.
func (p *producer) ask(request any, then func(reply any)) {
	if p.s.rng.IntN(12) == 0 && p.mayRepeat(request) {
		p.s.late = append(p.s.late, request)
	}
	p.call, p.lost = &call{p, request, then}, false
	p.s.send(p.call)
}

// mayRepeat says whether a request may come late without harm. Under version 1 an EndTxn may not (KAFKA-17754), and a
// repeated AddPartitionsToTxn begins a transaction of nothing, which the next EndTxn ends.
func (p *producer) mayRepeat(request any) bool {
	_, ends := request.(*kmsg.EndTxnRequest)
	_, adds := request.(AddPartitions)
	return p.version >= 2 || !ends && !adds
}

// restart has the producer begin anew: as itself, or as one that knows nothing.
func (p *producer) restart(resumes bool) {
	p.ready, p.tag, p.lost, p.ending = false, 0, false, nil
	p.resumes = resumes
}

// begin sends InitProducerId.
func (p *producer) begin() {
	r := initOf(p.id, p.timeout)
	if p.resumes {
		r.ProducerID, r.ProducerEpoch = p.producerID, p.epoch
	}
	p.ask(r, func(reply any) {
		resp, ok := reply.(*kmsg.InitProducerIDResponse)
		if !ok {
			p.s.w.ids = 5 // NeedProducerID
			return
		}
		switch kerr.ErrorForCode(resp.ErrorCode) {
		case nil:
			if p.resumes && p.version == 1 && resp.ProducerID == p.producerID && resp.ProducerEpoch <= p.epoch {
				p.s.w.t.Fatalf("%s begins anew and is given %d/%d", p, resp.ProducerID, resp.ProducerEpoch)
			}
			p.producerID, p.epoch, p.ready = resp.ProducerID, resp.ProducerEpoch, true
		case kerr.ConcurrentTransactions:
		case kerr.ProducerFenced:
			if !p.resumes {
				p.s.w.t.Fatalf("%s begins and is fenced", p)
			}
			p.restart(false)
		default:
			p.s.w.t.Fatalf("InitProducerId: %v", kerr.ErrorForCode(resp.ErrorCode))
		}
	})
}

// produce writes a record. Under version 1 the partition is added first, and then the broker asks whether it was.
func (p *producer) produce(to Partition) {
	l := p.s.logs[to]
	if o, open := l.open[p.producerID]; open && o.epoch == p.epoch && o.tag == p.tag {
		if !p.s.write(to, p, 0) {
			p.restart(p.s.rng.IntN(2) == 0)
		}
		return
	}
	explicit := p.version == 1 && !p.added[to]
	guard := l.ended[p.producerID]
	r := AddPartitions{
		TransactionalID: p.id, ProducerID: p.producerID, ProducerEpoch: p.epoch, Partitions: []Partition{to},
		Implicit: p.version >= 2, VerifyOnly: p.version == 1 && !explicit,
	}
	p.ask(r, func(reply any) {
		added := reply.(Added)
		switch {
		case added.Err == kerr.ConcurrentTransactions:
		case added.Err == kerr.ProducerFenced, added.Err == kerr.InvalidProducerIDMapping:
			p.restart(p.s.rng.IntN(2) == 0 && added.Err == kerr.ProducerFenced)
		case added.Err != nil:
			p.s.w.t.Fatalf("AddPartitions: %v", added.Err)
		case len(added.Missing) > 0:
			p.s.w.t.Fatalf("%s has added %v, which is not there", p, to)
		case explicit:
			p.added[to] = true
		case p.s.write(to, p, guard):
			p.wrote = true
		default:
			p.restart(p.s.rng.IntN(2) == 0)
		}
	})
}

// decide has the producer end its transaction. It stays with that, whatever it is told.
func (p *producer) decide() {
	commit, version := p.s.rng.IntN(3) > 0, int16(5)
	switch {
	case p.version == 1 && len(p.added) == 0:
		p.tag = 0 // there is nothing to end
		return
	case p.version == 1:
		version = 4
	case !p.wrote:
		commit = false // it may have added nothing
	}
	p.ending = endOf(p.id, p.producerID, p.epoch, commit, version)
}

// ended takes the answer to EndTxn.
func (p *producer) ended(reply any) {
	resp, ok := reply.(*kmsg.EndTxnResponse)
	if !ok {
		p.s.w.ids = 5 // NeedProducerID
		return
	}
	switch kerr.ErrorForCode(resp.ErrorCode) {
	case nil:
		p.s.tell(p.tag, p.ending.Commit)
		if p.ending.Version >= epochBumpVersion {
			p.producerID, p.epoch = resp.ProducerID, resp.ProducerEpoch
		}
		p.tag, p.ending = 0, nil
	case kerr.ConcurrentTransactions:
	case kerr.ProducerFenced, kerr.InvalidProducerIDMapping, kerr.InvalidTxnState:
		p.restart(false)
	default:
		p.s.w.t.Fatalf("EndTxn: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
}

// tell notes what the producer of a transaction was told.
func (s *simulation) tell(tag int, commit bool) {
	if outcome, decided := s.outcomes[tag]; decided && outcome != commit {
		s.w.t.Fatalf("the producer of transaction %d is told commit=%v, and it has ended with commit=%v", tag, commit, outcome)
	}
	s.promised[tag] = commit
}

// settle ends all trouble, and waits until all is at rest.
func (s *simulation) settle() {
	s.calm, s.w.ids = true, 1<<20
	for len(s.late) > 0 {
		s.again()
	}
	for range 200 {
		for _, p := range s.producers {
			p.pause = time.Time{}
			p.act()
		}
		for range 20 {
			s.mark()
		}
		s.tick(200 * time.Millisecond)
	}
	for p, l := range s.logs {
		for id, open := range l.open {
			s.w.t.Errorf("transaction %d of producer %d is open in %v", open.tag, id, p)
		}
	}
	for id, t := range s.w.m.transactions {
		if t.state.isOpen() {
			s.w.t.Errorf("transactional id %s is not at rest: %s", id, said(t))
		}
	}
	if len(s.w.waiting) > 0 || len(s.w.endings) > 0 {
		s.w.t.Errorf("%d requests wait, and %d transactions are not ended", len(s.w.waiting), len(s.w.endings))
	}
}
