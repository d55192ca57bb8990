package oracle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// patience is how long a broker has for an answer. No case asks it to wait for nearly as long.
const patience = 30 * time.Second

// talk is one conversation: what was asked, and what was answered, in the order in which the case wanted to know.
type talk struct {
	t        testing.TB
	subject  *subject
	names    *names
	steps    []step
	versions versions // of APIs beside that of the case
	conns    []*client
	lowered  bool // transaction.version is below 2
}

// step is a request and its answer's tree. In place of an answer, there may be "closed".
type step struct {
	asked  string
	answer any
}

// client is a connection to the broker. Its methods are for the case's goroutine.
type client struct {
	*talk
	api     kmsg.Key // whose version the case is held in
	version int16    // that version

	conn   net.Conn // nil when it is to be opened
	format *kmsg.RequestFormatter
	last   int32 // correlation id
}

// hungUp ends a case whose connection was closed by the broker: what it would have done with the answer cannot be done.
type hungUp struct{}

// hold holds one conversation and returns its steps.
func (s *subject) hold(t testing.TB, c oneCase, version int16, v versions) (steps []step) {
	t.Helper()
	k := &talk{t: t, subject: s, names: newNames(s.port), versions: v}
	defer func() {
		k.hangUp(recover())
		steps = k.steps
	}()
	c.run(k.connect(c.api, version))
	return nil // as deferred
}

// hangUp closes all connections, and swallows the panic of a case that the broker ended.
func (k *talk) hangUp(r any) {
	for _, c := range k.conns {
		c.close()
	}
	if r != nil && r != (hungUp{}) {
		panic(r)
	}
}

func (k *talk) connect(api kmsg.Key, version int16) *client {
	c := &client{talk: k, api: api, version: version, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("oracle"))}
	k.conns = append(k.conns, c)
	return c
}

// another is one more connection, for what one alone cannot do: wait and go on.
func (c *client) another() *client { return c.connect(c.api, c.version) }

// named is another connection, of a client with this id.
func (c *client) named(clientID string) *client {
	other := c.another()
	other.format = kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))
	return other
}

// fresh returns a name for a topic, a group, or what else a case makes: no other case has it, and the transcript shows it
// as label.
func (c *client) fresh(label string) string {
	c.subject.made++
	real := fmt.Sprintf("%s.%d", label, c.subject.made)
	c.names.show(real, label)
	return real
}

// topic is a topic that a case has made.
type topic struct {
	name string
	id   [16]byte
}

// topic makes a topic with these configs (name=value), whose name is fresh.
func (c *client) topic(label string, partitions int32, configs ...string) topic {
	c.t.Helper()
	made := topic{name: c.fresh(label)}
	resp := do[*kmsg.CreateTopicsResponse](c, createRequest(newTopic(made.name, partitions, configs...)))
	if code := resp.Topics[0].ErrorCode; code != 0 {
		c.t.Fatalf("the topic %s cannot be made: %v", made.name, codeName(code))
	}
	made.id = resp.Topics[0].TopicID
	c.names.ids[made.id] = "<id of " + label + ">"
	c.names.epoch = c.lead(made, partitions)
	return made
}

// missing is a topic that there is not.
func (c *client) missing(label string) topic {
	t := topic{name: c.fresh(label)}
	binary.BigEndian.PutUint64(t.id[8:], uint64(c.subject.made)) // none is drawn that begins with so many zeros
	c.names.ids[t.id] = "<id of " + label + ">"
	return t
}

// lead waits until the broker leads all partitions of a topic, which it may say before it does, and returns the leader epoch.
func (c *client) lead(made topic, partitions int32) int32 {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		req := listOffsetsRequest(made.name, 0, -1)
		for p := int32(1); p < partitions; p++ {
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, listOffsetsRequest(made.name, p, -1).Topics[0].Partitions[0])
		}
		found := do[*kmsg.ListOffsetsResponse](c, req).Topics[0].Partitions
		if !slices.ContainsFunc(found, func(p kmsg.ListOffsetsResponseTopicPartition) bool { return p.ErrorCode != 0 }) {
			return found[0].LeaderEpoch
		}
	}
	c.t.Fatalf("the topic %s has no leaders after %v", made.name, patience)
	return 0
}

// settle waits until Kafka's broker has heard of all that its controller has done so far: it hears of it in order.
func (c *client) settle() {
	c.t.Helper()
	c.topic("settled", 1)
}

// ask asks, in the case's version if the request is one of its API, else in the newest; answer and question go into the
// transcript.
func ask[R kmsg.Response](c *client, req kmsg.Request) R {
	c.t.Helper()
	return begin[R](c, req).answer()
}

// askAfter is ask of what must not be answered before a time has gone by, by Kafka's rules. That it is answered soon
// afterwards is for tests with a clock of their own.
func askAfter[R kmsg.Response](c *client, least time.Duration, req kmsg.Request) R {
	c.t.Helper()
	begun := time.Now()
	resp := ask[R](c, req)
	if took := time.Since(begun); took < least {
		c.t.Errorf("%s is answered after %v, and not before %v is allowed", kmsg.NameForKey(req.Key()), took, least)
	}
	return resp
}

// askUntil asks again and again until the answer is as it should be: Kafka answers some requests before what they ask for has
// come about. The last answer goes into the transcript.
func askUntil[R kmsg.Response](c *client, req kmsg.Request, ok func(R) bool) R {
	c.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if resp := do[R](c, req); ok(resp) {
			c.steps = append(c.steps, step{kmsg.NameForKey(req.Key()), c.names.tree(resp)})
			return resp
		}
	}
	c.t.Fatalf("%s is not answered as it should be within %v", kmsg.NameForKey(req.Key()), patience)
	panic("unreachable")
}

// do is ask without a word in the transcript: it prepares what the case is about.
func do[R kmsg.Response](c *client, req kmsg.Request) R {
	c.t.Helper()
	p := begin[R](c, req)
	p.quiet = true
	return p.answer()
}

// pending is a request on its way. There is one at a time on a connection.
type pending[R kmsg.Response] struct {
	client *client
	req    kmsg.Request
	quiet  bool
	err    error
}

// begin sends a request whose answer is to come later.
func begin[R kmsg.Response](c *client, req kmsg.Request) *pending[R] {
	c.t.Helper()
	version := c.version
	if req.Key() != c.api.Int16() {
		version = c.versions.newest(req.Key())
	}
	req.SetVersion(version)
	return &pending[R]{client: c, req: req, err: c.send(c.format.AppendRequest(nil, req, c.last+1))}
}

// send sends a frame, which has the next correlation id.
func (c *client) send(frame []byte) error {
	c.t.Helper()
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.subject.addr, patience)
		if err != nil {
			c.t.Fatal(err)
		}
		c.conn = conn
	}
	c.last++
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	_, err := c.conn.Write(frame)
	return err
}

// answer waits for the answer. The case ends if the broker has closed the connection instead.
func (p *pending[R]) answer() R {
	c := p.client
	c.t.Helper()
	resp, err := p.receive()
	if closed(err) {
		p.note("closed")
		c.close()
		panic(hungUp{})
	}
	if err != nil {
		c.t.Fatalf("%s version %d, step %d: %v", kmsg.NameForKey(p.req.Key()), p.req.GetVersion(), len(c.steps)+1, err)
	}
	p.note(c.names.tree(resp))
	return resp
}

// isClosed waits for the end of the connection, which the broker owes to such a request. The next request opens another.
func (p *pending[R]) isClosed() {
	c := p.client
	c.t.Helper()
	resp, err := p.receive()
	switch {
	case closed(err):
		p.note("closed")
	case err != nil:
		c.t.Fatal(err)
	default:
		p.note(c.names.tree(resp))
	}
	c.close()
}

func (p *pending[R]) note(answer any) {
	if !p.quiet {
		p.client.steps = append(p.client.steps, step{kmsg.NameForKey(p.req.Key()), answer})
	}
}

func (p *pending[R]) receive() (resp R, err error) {
	if p.err != nil {
		return resp, p.err
	}
	frame, err := p.client.frame()
	if err != nil {
		return resp, err
	}
	resp = p.req.ResponseKind().(R)
	resp.SetVersion(p.req.GetVersion())
	body := frame[4:]
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		body = body[1:] // the count of tags, which is 0
	}
	if err := resp.ReadFrom(body); err != nil {
		return resp, fmt.Errorf("%w: %x", err, frame)
	}
	if again := resp.AppendTo(nil); len(again) != len(body) {
		return resp, fmt.Errorf("an answer of %d bytes holds only %d: %x", len(body), len(again), frame)
	}
	return resp, nil
}

// frame reads the answer with the newest correlation id, which it begins with.
func (c *client) frame() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.conn, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c.conn, frame); err != nil {
		return nil, err
	}
	if len(frame) < 5 || int32(binary.BigEndian.Uint32(frame)) != c.last {
		return nil, fmt.Errorf("the answer is not to request %d: %x", c.last, frame)
	}
	return frame, nil
}

// tell sends a request that is not answered. That nothing comes shows when the next one is.
func (c *client) tell(req kmsg.Request) {
	c.t.Helper()
	if p := begin[kmsg.Response](c, req); p.err != nil {
		c.t.Fatal(p.err)
	}
}

// close closes the connection; the next request opens another one.
func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// closed says whether an error is that of a connection that the other side has closed.
func closed(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) && !op.Timeout()
}
