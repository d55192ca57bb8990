package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// script is a connection that plays bytes and collects what is written.
type script struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (s *script) Read(b []byte) (int, error)     { return s.in.Read(b[:min(len(b), 1000)]) }
func (s *script) Write(b []byte) (int, error)    { return s.out.Write(b) }
func (*script) Close() error                     { return nil }
func (*script) LocalAddr() net.Addr              { return &net.UnixAddr{Name: "local"} }
func (*script) RemoteAddr() net.Addr             { return &net.UnixAddr{Name: "remote"} }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }

// FuzzConnection plays any bytes to the frame loop in front of every API that kmsg knows. Whatever they are, nothing
// panics, all memory comes back, what is taken takes effect in order, and every answer is a frame.
func FuzzConnection(f *testing.F) {
	f.Add([]byte{})
	f.Add(frames("PFMS"))
	f.Add(frames("MMMMPPPPFFFF"))
	f.Add(produce(1, 10_000))
	f.Add(append(metadata(1), "GET / HTTP/1.1\r\n\r\n"...))
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 7})
	f.Add([]byte{0, 0, 0, 8, 0, 18, 0, 99, 0, 0, 0, 1})
	f.Add(encoded(kmsg.NewPtrApiVersionsRequest(), 3, 1))
	f.Add(encoded(kmsg.NewPtrJoinGroupRequest(), 9, 1))
	f.Fuzz(func(t *testing.T, in []byte) {
		var logs lines
		handle := func(ctx context.Context, r *Request) (Response, error) {
			m := kmsg.ResponseForKey(r.Key)
			if !r.Unsupported {
				m.SetVersion(r.Version)
			}
			return Message(m), nil
		}
		var apis []API
		for key := range int16(kmsg.MaxKey + 1) {
			m := kmsg.RequestForKey(key)
			switch {
			case m == nil:
			case key == 0:
				apis = append(apis, API{Key: key, Max: m.MaxVersion(), Begin: beginning(func(r *Request) Pending {
					return pendingFunc(func(ctx context.Context) (Response, error) { return handle(ctx, r) })
				})})
			default:
				apis = append(apis, API{Key: key, Max: m.MaxVersion(), Pipelined: key == 1, Handle: handle})
			}
		}
		s, err := New(Config{Listeners: []Listener{{Name: "TEST"}}, QueueDepth: 3}, apis, zerolog.New(&logs))
		if err != nil {
			t.Fatal(err)
		}
		socket := &script{in: bytes.NewReader(in)}
		newConn(s, &listener{config: s.config.Listeners[0]}, socket, addressOf(nil)).serve()

		if used, waiting := s.budget.state(); used != 0 || waiting != 0 {
			t.Errorf("%d bytes in use, %d waiting", used, waiting)
		}
		if logged := logs.at(zerolog.ErrorLevel); logged != nil {
			t.Errorf("logged: %s", strings.Join(logged, ""))
		}
		for out := bytes.NewReader(socket.out.Bytes()); out.Len() > 0; {
			var size uint32
			if err := binary.Read(out, binary.BigEndian, &size); err != nil {
				t.Fatalf("answer: %v", err)
			}
			if _, err := io.CopyN(io.Discard, out, int64(size)); err != nil {
				t.Fatalf("answer: %v", err)
			}
		}
	})
}
