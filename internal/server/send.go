package server

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/protocol"
	"segue/storage/record"
)

var (
	// errCut means that a file ended before the bytes that an answer had promised from it.
	errCut = errors.New("file ends within the batches that the answer promised")
	// errNoSendfile means that the system cannot send from this file to this socket; nothing was sent.
	errNoSendfile = errors.New("sendfile is not possible")
)

const (
	outboxSize  = 8 << 10  // of answers together, but for a last one that grows out of it
	gatherSize  = 16 << 10 // small parts are gathered up to this size before they are written
	copySize    = 128 << 10
	sendfileMax = 1 << 20 // bytes for one system call, so that progress is seen
)

// transmit encodes a response and sends it, or leaves that to sendOut. It returns the number of bytes that leave. After an
// error the client cannot make sense of the connection any more.
func (c *conn) transmit(k *call, response Response) (int64, error) {
	if m, ok := response.(message); ok { // most answers
		before := len(c.out.b)
		c.out.encode(&c.server.buffers, k.request.Header, m.Response)
		c.leaveHeavy(k)
		n := int64(len(c.out.b) - before)
		if len(c.out.b) < outboxSize {
			return n, nil
		}
		return n, c.sendOut()
	}
	if err := c.sendOut(); err != nil {
		return 0, err
	}
	s := sender{conn: c}
	defer s.release()
	parts, _, err := response.Parts(k.request.Header)
	if err != nil {
		return 0, &handlerError{k.row, k.request.Version, fmt.Errorf("encoding the answer: %w", err)}
	}
	c.leaveHeavy(k)
	for i := range parts {
		if err := s.part(&parts[i]); err != nil {
			return s.sent, err
		}
	}
	err = s.flush()
	return s.sent, err
}

// outbox holds answers that are encoded and not sent yet. It is the writer's own, and has a buffer only while it holds any.
type outbox struct {
	buf *buffer
	b   []byte // in buf, as long as it fits
}

func (o *outbox) encode(from *buffers, h protocol.Header, m kmsg.Response) {
	if o.buf == nil {
		o.buf = from.get(outboxSize)
		o.b = o.buf.b[:0]
	}
	o.b = protocol.AppendResponse(o.b, h, m)
}

func (o *outbox) release(to *buffers) {
	if o.buf != nil {
		to.put(o.buf)
		o.buf, o.b = nil, nil
	}
}

// sendOut sends the answers that are encoded.
func (c *conn) sendOut() error {
	if len(c.out.b) == 0 || c.ctx.Err() != nil {
		return nil
	}
	s := sender{conn: c}
	err := s.write(c.out.b)
	c.out.release(&c.server.buffers)
	return err
}

// maxReads bounds the threads that read files for answers at a time. Each may be at the disk, and the Go runtime ends a process
// that comes to have ten thousand.
const maxReads = 256

// turns has room for as many as may be at it at a time.
type turns chan struct{}

func (t turns) take() { t <- struct{}{} }
func (t turns) give() { <-t }

// sender writes the parts of one answer.
type sender struct {
	conn     *conn
	gathered []byte  // in gather, not yet written
	gather   *buffer // nil until needed
	sent     int64
	due      int // bytes until the deadline is moved
}

func (s *sender) release() {
	if s.gather != nil {
		s.conn.server.buffers.put(s.gather)
	}
}

// part writes a part, or gathers it to be written together with its neighbours.
func (s *sender) part(p *protocol.Part) error {
	if p.Chunk.Length > 0 {
		return s.chunk(p.Chunk)
	}
	if len(p.Bytes) > gatherSize {
		if err := s.flush(); err != nil {
			return err
		}
		return s.write(p.Bytes)
	}
	if err := s.makeRoom(len(p.Bytes)); err != nil {
		return err
	}
	s.gathered = append(s.gathered, p.Bytes...)
	return nil
}

// makeRoom sees to it that n bytes fit gathered, n being at most gatherSize.
func (s *sender) makeRoom(n int) error {
	if s.gather == nil {
		s.gather = s.conn.server.buffers.get(gatherSize)
		s.gathered = s.gather.b[:0]
	}
	if len(s.gathered)+n > cap(s.gathered) {
		return s.flush()
	}
	return nil
}

func (s *sender) flush() error {
	if len(s.gathered) == 0 {
		return nil
	}
	b := s.gathered
	s.gathered = b[:0]
	return s.write(b)
}

// write writes b in steps for each of which the client has its time.
func (s *sender) write(b []byte) error {
	for len(b) > 0 {
		s.progress(0)
		n, err := s.conn.socket.Write(b[:min(len(b), paceStep)])
		if s.progress(n); err != nil {
			return s.explain(err)
		}
		b = b[n:]
	}
	return nil
}

// progress notes n bytes that left. Every paceStep bytes, and at first, the deadline for writing is moved on: a client
// that takes a byte a second does not hold on to an answer, and the files behind it, for ever.
func (s *sender) progress(n int) {
	s.sent += int64(n)
	s.due -= n
	if s.due <= 0 {
		s.due = paceStep
		s.conn.socket.SetWriteDeadline(time.Now().Add(writeStall))
	}
}

func (s *sender) explain(err error) error {
	if isTimeout(err) {
		return fmt.Errorf("%w: less than %d bytes in %v", errStalled, paceStep, writeStall)
	}
	return fmt.Errorf("writing an answer: %w", err)
}

// chunk writes bytes out of a file: next to the others if there are few, else from file to socket without a copy
// where the system can, else through a buffer.
func (s *sender) chunk(c record.Chunk) error {
	if c.Length <= copyBelow {
		if err := s.makeRoom(c.Length); err != nil {
			return err
		}
		s.conn.server.reads.take()
		var err error
		s.gathered, err = c.AppendTo(s.gathered)
		s.conn.server.reads.give()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: %w", errCut, err)
		}
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	if s.conn.raw != nil && c.Conn != nil {
		if err := s.sendfile(c); !errors.Is(err, errNoSendfile) {
			return err
		}
	}
	return s.copy(c)
}

// sendfile has the system move the chunk. If that is impossible it says so at once, before the first byte.
func (s *sender) sendfile(c record.Chunk) error {
	from, err := c.Conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoSendfile, err)
	}
	for moved := 0; moved < c.Length; {
		s.progress(0)
		n, err := sendfile(s.conn.server.reads, s.conn.raw, from, c.Offset+int64(moved), min(c.Length-moved, sendfileMax))
		switch {
		case err == nil && n == 0:
			return fmt.Errorf("%w: %d bytes at %d, got %d", errCut, c.Length, c.Offset, moved)
		case errors.Is(err, errNoSendfile) && moved > 0:
			return fmt.Errorf("after %d bytes: %v", moved, err) // it worked a moment ago: the file or the disk is broken
		case err != nil:
			return s.explain(err)
		}
		s.progress(n)
		moved += n
	}
	return nil
}

// copy is sendfile's portable twin.
func (s *sender) copy(c record.Chunk) error {
	buf := s.conn.server.buffers.get(min(c.Length, copySize))
	defer s.conn.server.buffers.put(buf)
	for moved := 0; moved < c.Length; {
		want := min(c.Length-moved, len(buf.b))
		s.conn.server.reads.take()
		n, err := c.File.ReadAt(buf.b[:want], c.Offset+int64(moved))
		s.conn.server.reads.give()
		switch {
		case n == want:
		case err == nil, errors.Is(err, io.EOF):
			return fmt.Errorf("%w: %d bytes at %d, got %d", errCut, c.Length, c.Offset, moved+n)
		default:
			return fmt.Errorf("reading batches for an answer: %w", err)
		}
		if err := s.write(buf.b[:n]); err != nil {
			return err
		}
		moved += n
	}
	return nil
}
