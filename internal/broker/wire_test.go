package broker

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// patience is how long a broker has to answer. No request of these tests asks it to wait for long, so one that is not
// answered by then hangs.
const patience = 20 * time.Second

// wire is a connection of a client that keeps nothing to itself: no retries, no refreshed metadata, each answer as it
// came. It is not safe for concurrent use.
type wire struct {
	conn   net.Conn
	format *kmsg.RequestFormatter
	last   int32          // correlation id
	asked  []kmsg.Request // and not answered
}

func dial(addr net.Addr) (*wire, error) {
	conn, err := net.DialTimeout("tcp", addr.String(), patience)
	if err != nil {
		return nil, err
	}
	return &wire{conn: conn, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("test"))}, nil
}

func (w *wire) close() { w.conn.Close() } // nothing is left to be lost

// send sends a request without waiting for its answer.
func (w *wire) send(req kmsg.Request, version int16) error {
	req.SetVersion(version)
	w.last++
	w.asked = append(w.asked, req)
	if err := w.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := w.conn.Write(w.format.AppendRequest(nil, req, w.last))
	return err
}

// receive returns the answer to the first request that has none yet.
func (w *wire) receive() (kmsg.Response, error) {
	req := w.asked[0]
	w.asked = w.asked[1:]
	resp, err := w.read(req)
	if err != nil {
		return nil, fmt.Errorf("no answer to %s version %d: %w", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	return resp, nil
}

func (w *wire) read(req kmsg.Request) (kmsg.Response, error) {
	var size [4]byte
	if _, err := io.ReadFull(w.conn, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(w.conn, frame); err != nil {
		return nil, err
	}
	resp, header := req.ResponseKind(), 4
	if resp.IsFlexible() {
		header++ // the count of tags, which is 0
	}
	if len(frame) < header {
		return nil, fmt.Errorf("an answer of %d bytes", len(frame))
	}
	if id, want := int32(binary.BigEndian.Uint32(frame)), w.last-int32(len(w.asked)); id != want {
		return nil, fmt.Errorf("correlation id %d, want %d", id, want)
	}
	return resp, resp.ReadFrom(frame[header:])
}

// ask sends a request and returns its answer.
func ask[R kmsg.Response](w *wire, req kmsg.Request, version int16) (resp R, err error) {
	if err := w.send(req, version); err != nil {
		return resp, err
	}
	answer, err := w.receive()
	if err != nil {
		return resp, err
	}
	return answer.(R), nil
}
