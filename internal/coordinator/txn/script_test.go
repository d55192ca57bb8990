package txn

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// TestScripts runs testdata/*.txt: commands, and after each what it leads to. -rewrite writes down what they lead to now.
//
// Each request has a number: "#3: …" answers the third one, whenever that may be, and "#3 waits" says that it was not answered
// by its own command. "+ …" is a record, "- …" a tombstone, "> …" what the machine sends, "next in …" when it wants to be called.
// Commands have defaults: id=a, producer=1/0, the newest version, timeout=60s. The markers that are asked for are written when the
// script says markers, and not before.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{}
		datadriven.RunTest(t, path, s.run)
	})
}

// script runs the commands of one file.
type script struct {
	*world
	d *datadriven.TestData
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	s.d = d
	var out lines
	if d.Cmd == "new" {
		s.world = newWorld(t, int16(s.number("version", 2)), s.options)
		return "ok\n"
	}
	s.t = t
	switch d.Cmd {
	case "tick":
		s.advance(s.duration(d.CmdArgs[0].Key), func(fx coordinator.Effects) { s.showAt(&out, fx) })
	case "back": // the clock is set back; the machine's own, which is monotonic, is not
		s.now = s.now.Add(-s.duration(d.CmdArgs[0].Key))
		s.m.Began = s.m.Began.Add(-s.duration(d.CmdArgs[0].Key))
	case "reload":
		if len(s.waiting) > 0 {
			out.addf("lost: %d waiting", len(s.waiting))
		}
		out.showEffects(s.reload(d.HasArg("compacted")))
		out.addf("next in %s", s.next.Sub(s.now))
	case "version":
		s.version = int16(s.atoi(d.CmdArgs[0].Key))
	case "ids": // that are at hand
		s.ids = s.atoi(d.CmdArgs[0].Key)
	case "markers": // are written
		for _, e := range s.pending() {
			if s.str("id", e.TransactionalID) == e.TransactionalID {
				out.showEffects(s.finish(e.Complete))
			}
		}
	case "epoch": // is raised by producers that come and go
		s.raise(int16(s.atoi(d.CmdArgs[0].Key)))
	case "next":
		out.addf("next in %s", s.next.Sub(s.now))
	default:
		token, fx := s.do(s.request())
		out.showEffects(fx)
		if _, waits := s.waiting[token]; waits {
			out.addf("#%d waits", token)
		}
	}
	if out.Len() == 0 {
		return "ok\n"
	}
	return out.String()
}

func (s *script) options(o *Options) {
	maxRecord := s.number("max-record", o.MaxRecordBytes())
	o.MaxRecordBytes = func() int { return maxRecord }
	o.Waiting = s.number("waiting", o.Waiting)
	o.Expiration = s.duration(s.str("expiration", o.Expiration.String()))
	o.MaxTimeout = s.duration(s.str("max-timeout", o.MaxTimeout.String()))
}

// raise has producers begin until the id has an epoch.
func (s *script) raise(epoch int16) {
	for s.m.transactions["a"].epoch < epoch {
		s.do(initOf("a", 60_000))
	}
}

func (s *script) showAt(out *lines, fx coordinator.Effects) {
	var l lines
	l.showEffects(fx)
	if l.Len() > 0 {
		out.addf("at %s:", since(s.now))
		out.WriteString(l.String())
	}
}

func (s *script) str(key, otherwise string) string {
	if a, ok := s.d.Arg(key); ok && len(a.Vals) > 0 {
		return a.Vals[0]
	}
	return otherwise
}

func (s *script) list(key string) []string {
	a, _ := s.d.Arg(key)
	return a.Vals
}

func (s *script) number(key string, otherwise int) int {
	return s.atoi(s.str(key, strconv.Itoa(otherwise)))
}

func (s *script) atoi(number string) int {
	n, err := strconv.Atoi(number)
	if err != nil {
		s.d.Fatalf(s.t, "%v", err)
	}
	return n
}

func (s *script) duration(d string) time.Duration {
	n, err := time.ParseDuration(d)
	if err != nil {
		s.d.Fatalf(s.t, "%v", err)
	}
	return n
}

// producer reads producer=id/epoch.
func (s *script) producer(otherwise string) (id int64, epoch int16) {
	if _, err := fmt.Sscanf(s.str("producer", otherwise), "%d/%d", &id, &epoch); err != nil {
		s.d.Fatalf(s.t, "%v", err)
	}
	return id, epoch
}

func (s *script) partitions() (all []Partition) {
	for _, p := range s.list("partitions") {
		if p == "" {
			continue
		}
		topic, n, _ := strings.Cut(p, "/")
		all = append(all, Partition{topic, int32(s.atoi(n))})
	}
	return all
}

// id is the transactional id; id=*4097 is one of that many bytes.
func (s *script) id() string {
	id := s.str("id", "a")
	if length, long := strings.CutPrefix(id, "*"); long {
		return strings.Repeat("x", s.atoi(length))
	}
	return strings.Trim(id, `"`)
}

// request builds the request of a command.
func (s *script) request() any {
	switch s.d.Cmd {
	case "init":
		r := initOf(s.id(), int32(s.duration(s.str("timeout", "60s")).Milliseconds()))
		r.Version = int16(s.number("v", int(r.Version)))
		r.ProducerID, r.ProducerEpoch = s.producer("-1/-1")
		if s.d.HasArg("null") {
			r.TransactionalID = nil
		}
		return r
	case "add", "verify":
		r := AddPartitions{TransactionalID: s.id(), Partitions: s.partitions(), VerifyOnly: s.d.Cmd == "verify", Implicit: s.d.HasArg("implicit")}
		r.ProducerID, r.ProducerEpoch = s.producer("1/0")
		for n := range s.number("many", 0) {
			r.Partitions = append(r.Partitions, Partition{"many", int32(n)})
		}
		return r
	case "commit", "abort":
		id, epoch := s.producer("1/0")
		return endOf(s.id(), id, epoch, s.d.Cmd == "commit", int16(s.number("v", 5)))
	case "complete":
		id, epoch := s.producer("1/0")
		at := start.Add(s.duration(s.str("decided", "0s"))).UnixMilli()
		return Complete{s.id(), id, epoch, at}
	case "describe":
		return Describe{s.id()}
	case "list":
		return s.listRequest()
	case "count":
		return Count{}
	case "unknown":
		return s
	}
	s.d.Fatalf(s.t, "what is %s?", s.d.Cmd)
	return nil
}

func (s *script) listRequest() List {
	r := List{LongerThan: -1}
	var unknown []string
	if r.States, unknown = StatesNamed(s.list("states")); len(unknown) > 0 && r.States == nil {
		s.t.Errorf("unknown states %q ask for any", unknown)
	}
	for _, p := range s.list("producers") {
		r.ProducerIDs = append(r.ProducerIDs, int64(s.atoi(p)))
	}
	if s.d.HasArg("longer") {
		r.LongerThan = s.duration(s.str("longer", "")).Milliseconds()
	}
	var err error
	if r.Pattern, err = CompilePattern(s.str("pattern", "")); err != nil {
		s.d.Fatalf(s.t, "%v", err)
	}
	return r
}

func initOf(id string, timeout int32) *kmsg.InitProducerIDRequest {
	r := kmsg.NewPtrInitProducerIDRequest()
	r.Version, r.TransactionalID, r.TransactionTimeoutMillis = 5, &id, timeout
	return r
}

func endOf(id string, producerID int64, epoch int16, commit bool, version int16) *kmsg.EndTxnRequest {
	r := kmsg.NewPtrEndTxnRequest()
	r.Version, r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Commit = version, id, producerID, epoch, commit
	return r
}

// lines are what a script shows.
type lines struct{ strings.Builder }

func (l *lines) addf(format string, args ...any) {
	fmt.Fprintf(l, format, args...)
	l.WriteByte('\n')
}

func (l *lines) showEffects(fx coordinator.Effects) {
	for _, r := range fx.Records {
		l.showRecord(r)
	}
	for _, message := range fx.Sends {
		if e, ok := message.(Ending); ok {
			what := "abort"
			if e.Commit {
				what = "commit"
			}
			l.addf("> %s %s producer=%d/%d version=%d%s", what, e.TransactionalID, e.ProducerID, e.ProducerEpoch, e.Version, show(e.Partitions))
		} else {
			l.addf("> %T", message)
		}
	}
	for _, r := range fx.Replies {
		if text := replyOf(r.Message); text != "" {
			l.addf("#%d: %s", r.To, text)
		}
	}
}

func (l *lines) showRecord(r coordinator.Record) {
	m := New(Options{})
	if err := m.Apply(r); err != nil {
		l.addf("+ %v", err)
	}
	for id, t := range m.transactions {
		l.addf("+ %s %s", shorten(id), said(t))
	}
	if r.Value == nil {
		l.addf("- %s", shorten(string(r.Key[4:])))
	}
}

func shorten(id string) string {
	if len(id) > 20 {
		return fmt.Sprintf("%s…(%d)", id[:3], len(id))
	}
	return id
}

func show(all []Partition) (s string) {
	if len(all) > 20 {
		return fmt.Sprintf(" (%d partitions)", len(all))
	}
	for _, p := range all {
		s += fmt.Sprintf(" %s/%d", p.Topic, p.Partition)
	}
	return s
}

func errorName(c int16) string {
	var e *kerr.Error
	if errors.As(kerr.ErrorForCode(c), &e) {
		return e.Message
	}
	return "ok"
}

// replyOf shows an answer; Complete's is nothing.
func replyOf(message any) string {
	switch m := message.(type) {
	case nil:
		return ""
	case *kmsg.InitProducerIDResponse:
		return fmt.Sprintf("%s producer=%d/%d", errorName(m.ErrorCode), m.ProducerID, m.ProducerEpoch)
	case *kmsg.EndTxnResponse:
		return fmt.Sprintf("%s producer=%d/%d", errorName(m.ErrorCode), m.ProducerID, m.ProducerEpoch)
	case Added:
		if m.Err == nil && len(m.Missing) > 0 {
			return "missing" + show(m.Missing)
		}
		return errorName(code(m.Err))
	case NeedProducerID:
		return "needs a producer id"
	case kmsg.DescribeTransactionsResponseTransactionState:
		if m.ErrorCode != 0 {
			return errorName(m.ErrorCode)
		}
		s := fmt.Sprintf("%s producer=%d/%d timeout=%d start=%s", m.State, m.ProducerID, m.ProducerEpoch, m.TimeoutMillis, sinceMillis(m.StartTimestamp))
		for _, t := range m.Topics {
			s += fmt.Sprintf(" %s%v", t.Topic, t.Partitions)
		}
		return s
	case []kmsg.ListTransactionsResponseTransactionState:
		s := "listed:"
		for _, t := range m {
			s += fmt.Sprintf(" %s=%s/%d", t.TransactionalID, t.TransactionState, t.ProducerID)
		}
		return s
	case Counts:
		return fmt.Sprintf("%v oldest=%d", m.ByState, m.Oldest)
	}
	return fmt.Sprint(message)
}
