package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"segue/protocol"
	"segue/storage/record"
)

// noise is a file of random bytes, open for reading, and the bytes.
func noise(t testing.TB, size int) (*os.File, []byte) {
	t.Helper()
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(1, uint64(size)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	name := filepath.Join(t.TempDir(), "noise")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, b
}

// framed makes an answer of chunks, some bytes before each and after the last.
func framed(chunks []record.Chunk, corr int32) ([]protocol.Part, []byte) {
	size := 4
	var all []protocol.Part
	for i, c := range chunks {
		text := bytes.Repeat([]byte{byte('a' + i)}, 10*i+1)
		all = append(all, protocol.Part{Bytes: text}, protocol.Part{Chunk: c})
		size += len(text) + c.Length
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(size))
	head = binary.BigEndian.AppendUint32(head, uint32(corr))
	all = append([]protocol.Part{{Bytes: head}}, all...)
	var want []byte
	for _, p := range all[1:] {
		want = append(want, p.Bytes...)
		want, _ = p.Chunk.AppendTo(want)
	}
	return all, want
}

// Chunks arrive as they are in the file, whichever way they are sent, and however slowly they are taken.
func TestChunksArrive(t *testing.T) {
	file, _ := noise(t, 6<<20)
	if _, err := file.Seek(12345, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		conn syscall.Conn
	}{
		{"from the descriptor", file},
		{"copied", nil},
		{"from a descriptor that cannot be sent from", unsendable{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newSocketRig(t, Config{SendBuffer: 128 << 10})
			var released atomic.Int64
			var chunks []record.Chunk
			off := int64(7)
			for _, size := range []int{1, 100, copyBelow, copyBelow + 1, 50_000, copySize + 1, 3 << 20, 10} {
				chunks = append(chunks, record.NewChunk(file, off, size, test.conn, func() { released.Add(1) }))
				off += int64(size)
			}
			all, want := framed(chunks, 1)
			r.stage.answer = func(context.Context, *Request) (Response, error) {
				return parts{all, nil, new(int)}, nil
			}
			p := r.connect()
			p.Conn.(*net.TCPConn).SetReadBuffer(128 << 10) // so that the server has to wait for room many times, and not below a loopback packet
			p.read()
			p.send(fetch(1))
			if a := <-p.answers; !bytes.Equal(a.body, want) {
				t.Errorf("%d bytes arrived otherwise than they are (%d)", len(a.body), len(want))
			}
			p.send(metadata(1)) // which comes when the answer before it is done with
			<-p.answers
			if n := released.Load(); n != int64(len(chunks)) {
				t.Errorf("%d chunks released of %d", n, len(chunks))
			}
			r.logs.quiet(t)
		})
	}
	if off, err := file.Seek(0, io.SeekCurrent); err != nil || off != 12345 {
		t.Errorf("the file's own offset is %d (%v)", off, err)
	}
}

// However many answers come out of files at once, few threads are at the disk.
func TestReadsAreBounded(t *testing.T) {
	const clients, bound = 8, 2
	for _, size := range []int{100, copySize} {
		r := makeRig(t, Config{})
		r.reads = make(turns, bound)
		if err := r.Listen(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.serve()
		t.Cleanup(r.finish)
		disk := slowFile{arrived: make(chan struct{}), leave: make(chan struct{})}
		r.stage.answer = func(context.Context, *Request) (Response, error) {
			head := binary.BigEndian.AppendUint32(nil, uint32(size))
			chunk := record.NewChunk(&disk, 0, size, nil, func() {})
			return parts{[]protocol.Part{{Bytes: head}, {Chunk: chunk}}, nil, new(int)}, nil
		}
		for range clients {
			p := r.connect()
			p.read()
			p.send(fetch(1))
			defer func() { <-p.answers }()
		}
		for range bound {
			<-disk.arrived
		}
		for range 1000 { // for one too many to come
			runtime.Gosched()
		}
		go func() {
			for range clients - bound {
				<-disk.arrived
			}
		}()
		close(disk.leave)
		if most := disk.most.Load(); most > bound {
			t.Errorf("%d reads of %d bytes at once, allowed are %d", most, size, bound)
		}
	}
}

// slowFile is a file on a disk that takes its time.
type slowFile struct {
	arrived, leave chan struct{}
	inside, most   atomic.Int64
}

func (f *slowFile) ReadAt(b []byte, _ int64) (int, error) {
	n := f.inside.Add(1)
	for most := f.most.Load(); n > most && !f.most.CompareAndSwap(most, n); most = f.most.Load() {
	}
	f.arrived <- struct{}{}
	<-f.leave
	f.inside.Add(-1)
	return len(b), nil
}

// unsendable is a connection that has no descriptor for sendfile.
type unsendable struct{}

func (unsendable) SyscallConn() (syscall.RawConn, error) { return nil, errTest }

// A file that ends too early ends the connection, and the client gets no byte that is not the file's.
func TestCutFileOnSocket(t *testing.T) {
	file, content := noise(t, 1<<20)
	r := newSocketRig(t, Config{})
	var released atomic.Int64
	r.stage.answer = func(context.Context, *Request) (Response, error) {
		chunk := record.NewChunk(file, 1000, len(content), file, func() { released.Add(1) })
		return parts{[]protocol.Part{{Bytes: []byte{0, 16, 0, 0}}, {Chunk: chunk}}, nil, new(int)}, nil
	}
	p := r.connect()
	p.send(fetch(1))
	got, _ := io.ReadAll(p) // the end may be a reset
	if want := content[1000:]; len(got) < 4 || !bytes.Equal(got[4:], want) {
		t.Errorf("%d bytes arrived, %d are in the file", len(got)-4, len(want))
	}
	r.finish()
	if n := released.Load(); n != 1 {
		t.Errorf("released %d times", n)
	}
	r.served <- nil // for the finish at the end of the test
}

// A client that closes while an answer is on its way to it sets the files behind the answer free.
func TestClientClosesWithinAnswer(t *testing.T) {
	file, _ := noise(t, 6<<20)
	r := newSocketRig(t, Config{SendBuffer: 128 << 10})
	released := make(chan struct{})
	r.stage.answer = func(context.Context, *Request) (Response, error) {
		chunk := record.NewChunk(file, 0, 6<<20, file, func() { close(released) })
		return parts{[]protocol.Part{{Bytes: []byte{0, 0x60, 0, 0}}, {Chunk: chunk}}, nil, new(int)}, nil
	}
	p := r.connect()
	p.send(fetch(1))
	if _, err := io.ReadFull(p, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	p.hangUp()
	<-released
	r.logs.quiet(t)
}

// A closed socket is noticed although the reader cannot read: the queue is full, or a Produce waits for its turn. What
// the client had sent before takes effect.
func TestCloseIsNoticedWithoutReading(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the state of a TCP connection can be asked for on Linux only")
	}
	for _, test := range []struct {
		name, sequence string
		depth          int
		want           []string
	}{
		{"full queue", "FPPFM", 2, []string{"begin 2", "gone 1", "begin 3", "handle 4", "handle 5"}},
		{"turn", "MPP", 0, []string{"gone 1", "begin 2", "begin 3"}},
		{"barrier", "SP", 0, []string{"gone 1", "begin 2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newSocketRig(t, Config{QueueDepth: test.depth})
			r.stage.block(1)
			p := r.connect()
			requests := spell(test.sequence)
			p.Write(requests[0])
			<-r.stage.heard // else the first Handle and the next Begin race, as they may
			p.Write(bytes.Join(requests[1:], nil))
			p.hangUp()
			r.serving.Wait()
			r.stage.expect(t, append([]string{"handle 1"}, test.want...)...)
			r.logs.quiet(t)
		})
	}
}

func TestPeerGone(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the state of a TCP connection can be asked for on Linux only")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if peerGone(raw) {
		t.Error("gone while open")
	}
	if _, err := client.Write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	client.Close()
	for deadline := time.Now().Add(10 * time.Second); !peerGone(raw); {
		if time.Now().After(deadline) {
			t.Fatal("not gone after it closed")
		}
		runtime.Gosched()
	}
	if b, err := io.ReadAll(server); string(b) != "unread" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	server.Close()
	if !peerGone(raw) {
		t.Error("there although our side is closed")
	}
}

// The last answers reach a client that has sent more than the server was ready to take when it stopped.
func TestStopDoesNotTakeAnswersBack(t *testing.T) {
	r := newSocketRig(t, Config{QueueDepth: 2})
	open := r.stage.block(1)
	p := r.connect()
	for corr := range int32(8) {
		p.send(produce(corr+1, readBuffer-100)) // so that most of it waits in the socket
	}
	<-r.stage.heard
	<-r.stage.heard
	stopped := make(chan error, 1)
	go func() { stopped <- r.Shutdown(context.Background()) }()
	<-r.stopping
	open()
	p.read()
	p.expect(1, 2)
	p.expectClosed()
	if p.end != io.EOF { // a reset: other systems than Linux would have dropped the answers
		t.Errorf("the connection ended with %v", p.end)
	}
	p.hangUp()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
