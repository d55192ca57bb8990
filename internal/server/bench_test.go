package server

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"segue/protocol"
	"segue/storage/record"
)

// benchmark plays one request after the other over loopback.
func benchmark(b *testing.B, request []byte, answer func(r *Request) Response) {
	b.Helper()
	handle := func(_ context.Context, r *Request) (Response, error) { return answer(r), nil }
	s, err := New(Config{Listeners: []Listener{{Name: "BENCH", Addr: "127.0.0.1:0"}}}, []API{
		{Key: 0, Min: 3, Max: 8, Begin: beginning(func(r *Request) Pending {
			return pendingFunc(func(ctx context.Context) (Response, error) { return handle(ctx, r) })
		})},
		{Key: 1, Min: 4, Max: 11, Handle: handle},
		{Key: 12, Min: 0, Max: 3, Handle: handle},
	}, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Listen(b.Context()); err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	c, err := net.Dial("tcp", s.Addrs()["BENCH"].String())
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf[:4]); err != nil {
			b.Fatal(err)
		}
		for rest := int(binary.BigEndian.Uint32(buf)); rest > 0; {
			n, err := c.Read(buf[:min(rest, len(buf))])
			if err != nil {
				b.Fatal(err)
			}
			rest -= n
		}
	}
	c.Close()
	if err := s.Shutdown(context.Background()); err != nil {
		b.Error(err)
	}
	<-served
}

func BenchmarkHeartbeat(b *testing.B) { benchmark(b, heartbeat(1), reply) }

func BenchmarkProduce1MiB(b *testing.B) {
	b.SetBytes(1 << 20)
	benchmark(b, produce(1, 1<<20), reply)
}

func BenchmarkFetch1MiB(b *testing.B) {
	file, _ := noise(b, 1<<20)
	for name, conn := range map[string]syscall.Conn{"sendfile": file, "copy": nil} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(1 << 20)
			benchmark(b, fetch(1), func(r *Request) Response {
				head := binary.BigEndian.AppendUint32(nil, 4+1<<20)
				head = binary.BigEndian.AppendUint32(head, uint32(r.CorrelationID))
				return parts{[]protocol.Part{{Bytes: head}, {Chunk: record.NewChunk(file, 0, 1<<20, conn, nil)}}, nil, new(int)}
			})
		})
	}
}
