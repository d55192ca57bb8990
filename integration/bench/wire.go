//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// wire is one connection, with one request in flight at a time.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
	buf  []byte
}

func dial(addr string) (*wire, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &wire{conn: conn, in: bufio.NewReaderSize(conn, 8<<10)}, nil
}

func (w *wire) close() { w.conn.Close() }

// encode returns a request of the version that is set in it as a frame, to be sent any number of times.
func encode(req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, req, 1)
}

// exchange sends a frame and returns the answer behind its length, which is valid until the next call.
func (w *wire) exchange(frame []byte) ([]byte, error) {
	if _, err := w.conn.Write(frame); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(w.in, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(size[:]))
	if cap(w.buf) < n {
		w.buf = make([]byte, n)
	}
	_, err := io.ReadFull(w.in, w.buf[:n])
	return w.buf[:n], err
}

// ask sends a request and decodes the answer.
func ask[R kmsg.Response](w *wire, req kmsg.Request) (resp R, err error) {
	body, err := w.exchange(encode(req))
	if err != nil {
		return resp, err
	}
	resp = req.ResponseKind().(R)
	resp.SetVersion(req.GetVersion())
	head := 4
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		head++ // no tagged fields
	}
	if len(body) < head {
		return resp, fmt.Errorf("an answer of %d bytes", len(body))
	}
	return resp, resp.ReadFrom(body[head:])
}
