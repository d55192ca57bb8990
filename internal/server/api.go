package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/protocol"
)

// API is a row of the table of what the broker answers: one Kafka API with the versions that it takes, its limits and
// its function. Exactly one of Handle and Begin is set.
//
// The functions of one connection run one at a time in the order of its requests, but for Begin: it may run at the
// same time as the Handle or Pending of an earlier row that is Pipelined or has Begin. Functions of different
// connections run concurrently.
type API struct {
	Key int16
	// Min and Max are the lowest and the highest version that is taken. Another one closes the connection, as there is
	// no answer that the client would be sure to understand; only ApiVersions is called all the same (see
	// Request.Unsupported).
	Min, Max int16
	// Advertise is the lowest version that ApiVersions shows. It may lie below Min: some clients conclude from the
	// lowest version what else a broker can do (KAFKA-18659).
	Advertise int16
	// Open rows may be used before the client has authenticated itself, on listeners that ask for that.
	Open bool
	// Pipelined marks a row that changes nothing a Begin could depend on (Fetch): a Begin row behind it need not wait
	// for its answer. Rows with Begin are always pipelined.
	Pipelined bool
	// Barrier rows (SASL) change what the following bytes mean: the next frame is not read before the answer is out.
	Barrier bool
	// Query marks a row that changes nothing, and waits for nothing, for which a client is not there to see the answer: its
	// requests are passed over once the client has gone. Of those that cost much only some are handled at a time, so that
	// they leave processors to the others.
	Query bool
	// MaxFrame is the largest request in bytes, without its size prefix. Zero stands for Config.MaxRequestBytes, which
	// is never exceeded.
	MaxFrame int32
	// Cost is about how many bytes of memory it takes to handle a request, from its decoding until its answer is sent:
	// what the handler keeps about it, and the answer as a message and as bytes. The decoded request takes decoded bytes,
	// 0 for rows with Begin, for which the cost is that of what Begin leaves behind. A request whose cost exceeds
	// Config.AnswerBudget is refused. Nil stands for nothing in rows with Begin, and for HandlingFactor times decoded in others.
	Cost func(r *Request, decoded int) int

	// Handle answers a request. It is called by the connection's writer when all earlier requests are answered.
	Handle Handler
	// Begin lets requests that have come together take effect (Produce: appends), as if one after the other. It is called
	// by the connection's reader, as soon as all unanswered requests before them are pipelined. It must not keep the
	// slice, nor Request.Body, or a slice of that. It returns a Pending for each, which is called in turn, for the answer;
	// a nil one means that no answer is owed.
	Begin func(ctx context.Context, rs []*Request) []Pending
}

// Handler answers a request. Its context is the connection's: that it ended says that nobody will read the answer,
// so it may end a wait and must not end an effect.
//
// A nil Response with a nil error sends nothing, which only a request that asked for no answer expects. An error
// closes the connection: what can be said in Kafka's error codes belongs into the Response. An error that wraps
// ErrDisconnect is logged as intended, any other as a fault of the broker.
type Handler func(ctx context.Context, r *Request) (Response, error)

// Pending is a request that has begun to take effect.
type Pending interface {
	// Ready tells whether Answer would return without waiting. It does not wait itself.
	Ready() bool
	// Answer waits for the outcome and returns the answer. Context and results are as Handler's.
	Answer(ctx context.Context) (Response, error)
}

// ErrDisconnect is wrapped by the error of a handler that wants the connection closed, as Kafka does on the failure of
// a Produce with acks=0. The wrapping error says why and is logged once.
var ErrDisconnect = errors.New("connection is to be closed")

// Request is a request as a handler gets it. It is the handler's until the answer is sent.
type Request struct {
	protocol.Header
	// Message is the decoded body; nil for rows with Begin, and where Unsupported is set. It does not refer to Body.
	Message kmsg.Request
	// Body holds the undecoded body during Begin, and only then.
	Body []byte
	// Client is who asks.
	Client *Client
	// Received is when the last byte of the request was read.
	Received time.Time
	// Stopping is closed when the server begins to stop: a request that waits for news then answers with what there is.
	Stopping <-chan struct{}
	// Unsupported is set for an ApiVersions request of a version that the row does not have. Its body was not looked
	// at; it is to be answered in version 0 with UNSUPPORTED_VERSION (KIP-511).
	Unsupported bool
}

// Response is an answer. The Server calls Parts at most once and then, in any case, Release. *protocol.FetchResponse
// is one; Message makes one of any other message.
type Response interface {
	// Parts returns the whole frame of the answer to a request with header h, size prefix included, as parts in order,
	// and its length in bytes. The parts are valid until Release.
	Parts(h protocol.Header) (parts []protocol.Part, size int, err error)
	// Release gives back what the answer holds on to, chunks above all.
	Release()
}

// Message returns m as a Response. It is sent in m's own version.
func Message(m kmsg.Response) Response { return message{m} }

type message struct{ kmsg.Response }

func (m message) Parts(h protocol.Header) ([]protocol.Part, int, error) {
	frame := protocol.AppendResponse(nil, h, m.Response)
	return []protocol.Part{{Bytes: frame}}, len(frame), nil
}

func (message) Release() {}

// Throttle returns r with the wish that the connection be muted for d: r is sent at once and no further request is
// taken until d has passed (KIP-219). A nil r, where no answer is owed, mutes alike.
func Throttle(r Response, d time.Duration) Response { return throttled{r, d} }

type throttled struct {
	Response
	mute time.Duration
}

// unthrottle takes Throttle's wrapping apart.
func unthrottle(r Response) (Response, time.Duration) {
	t, ok := r.(throttled)
	if !ok {
		return r, 0
	}
	inner, more := unthrottle(t.Response)
	return inner, max(t.mute, more)
}

// Sized returns r with about how many bytes of memory it takes until it is sent, where the request did not tell how large
// the answer would be (all members of a group). If that is more than the row's Cost, it is claimed, in place of that,
// before r is encoded, and an answer that exceeds Config.AnswerBudget closes the connection. What r holds on to
// meanwhile has to be shared or small.
func Sized(r Response, bytes int) Response { return sized{r, int64(bytes)} }

type sized struct {
	Response
	bytes int64
}

// row is an API and what is counted about it.
type row struct {
	API
	name   string
	counts apiCounters
}

// pipelined tells whether a Begin row may be begun while this one is unanswered.
func (r *row) pipelined() bool { return r.Pipelined || r.Begin != nil }

// String names the row with a version, for logs and errors.
func (r *row) String() string { return fmt.Sprintf("%s (API key %d)", r.name, r.Key) }

// table finds rows by key. It does not change once it is made.
type table []*row

const (
	apiVersionsKey = int16(kmsg.ApiVersions)
	maxKey         = 1 << 10 // far above Kafka's keys; bounds the table against a mistake
)

// newTable checks the rows. No frame may be larger than maxFrame.
func newTable(apis []API, maxFrame int32) (table, error) {
	var t table
	for _, a := range apis {
		r := &row{API: a, name: kmsg.NameForKey(a.Key)}
		switch {
		case a.Key < 0 || a.Key > maxKey:
			return nil, fmt.Errorf("API key %d is out of range", a.Key)
		case t.row(a.Key) != nil:
			return nil, fmt.Errorf("%v stands twice in the table", r)
		case a.Min < 0 || a.Max < a.Min || a.Advertise < 0 || a.Advertise > a.Min:
			return nil, fmt.Errorf("%v has impossible versions: %d to %d, shown from %d", r, a.Min, a.Max, a.Advertise)
		case (a.Handle == nil) == (a.Begin == nil):
			return nil, fmt.Errorf("%v needs either Handle or Begin", r)
		case a.MaxFrame < 0:
			return nil, fmt.Errorf("%v has a negative MaxFrame", r)
		}
		if r.MaxFrame == 0 || r.MaxFrame > maxFrame {
			r.MaxFrame = maxFrame
		}
		if grow := int(a.Key) + 1 - len(t); grow > 0 {
			t = append(t, make(table, grow)...)
		}
		t[a.Key] = r
	}
	return t, nil
}

// row returns the row of an API, or nil.
func (t table) row(key int16) *row {
	if key < 0 || int(key) >= len(t) {
		return nil
	}
	return t[key]
}
