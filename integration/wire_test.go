//go:build integration && unix

package integration

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// wire is a connection on which a test speaks the protocol by hand: it says which version, and sees each answer as it
// comes.
type wire struct {
	t         testing.TB
	conn      net.Conn
	in        *bufio.Reader
	formatter *kmsg.RequestFormatter
	next      int32          // correlation id of the next request
	asked     []kmsg.Request // and not answered yet
}

// dial opens a connection, which is closed at the test's end.
func (b *broker) dial(t testing.TB) *wire {
	t.Helper()
	conn, err := net.DialTimeout("tcp", b.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &wire{
		t: t, conn: conn, in: bufio.NewReader(conn),
		formatter: kmsg.NewRequestFormatter(kmsg.FormatterClientID("wire")),
	}
}

// send sends a request of the version that is set in it, and does not wait.
func (w *wire) send(req kmsg.Request) {
	w.t.Helper()
	if _, err := w.conn.Write(w.formatter.AppendRequest(nil, req, w.next)); err != nil {
		w.t.Fatal(err)
	}
	w.next++
	w.asked = append(w.asked, req)
}

// receive waits for the answer to the oldest request that has none.
func (w *wire) receive() kmsg.Response {
	w.t.Helper()
	resp, err := w.tryReceive()
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}

func (w *wire) tryReceive() (kmsg.Response, error) {
	if len(w.asked) == 0 {
		return nil, errors.New("nothing was asked")
	}
	req := w.asked[0]
	w.asked = w.asked[1:]
	w.conn.SetReadDeadline(time.Now().Add(patience))
	var prefix [4]byte
	if _, err := io.ReadFull(w.in, prefix[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(prefix[:]))
	if _, err := io.ReadFull(w.in, body); err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	header := 4
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		header++ // no tags
	}
	if len(body) < header || int32(binary.BigEndian.Uint32(body)) != w.next-int32(len(w.asked))-1 {
		return nil, errors.New("the answer is not to the oldest request")
	}
	return resp, resp.ReadFrom(body[header:])
}

// ask sends a request and waits for its answer.
func ask[R kmsg.Response](w *wire, req kmsg.Request) R {
	w.t.Helper()
	w.send(req)
	return answer[R](w)
}

// answer waits for the answer to the oldest request.
func answer[R kmsg.Response](w *wire) R {
	w.t.Helper()
	return w.receive().(R)
}

// staysQuiet expects that nothing comes for so long.
func (w *wire) staysQuiet(d time.Duration) {
	w.t.Helper()
	w.conn.SetReadDeadline(time.Now().Add(d))
	if _, err := w.in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Fatalf("within %v there is an answer, or an error: %v", d, err)
	}
}

// isClosed expects that the broker closes the connection without another byte.
func (w *wire) isClosed() {
	w.t.Helper()
	w.conn.SetReadDeadline(time.Now().Add(patience))
	if b, err := w.in.Peek(1); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Fatalf("the connection is not closed: %x, %v", b, err)
	}
}

// expectCode compares an error code with the error that is wanted, nil for none.
func expectCode(t testing.TB, what string, code int16, want *kerr.Error) {
	t.Helper()
	wanted := int16(0)
	if want != nil {
		wanted = want.Code
	}
	if code != wanted {
		t.Errorf("%s: %v, want %v", what, kerr.TypedErrorForCode(code), want)
	}
}

// batchOf returns a batch of the values, with timestamps from now on.
func batchOf(t testing.TB, values ...string) record.Batch {
	t.Helper()
	b := record.NewBuilder(0)
	now := time.Now().UnixMilli()
	for i, v := range values {
		b.Add(now+int64(i), nil, []byte(v))
	}
	return build1(t, b)
}

func build1(t testing.TB, b *record.Builder) record.Batch {
	t.Helper()
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// produceRequest is a Produce request with one batch, of a version that names the topic.
func produceRequest(topic string, partition int32, acks int16, batch record.Batch) *kmsg.ProduceRequest {
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, batch.Bytes()
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, acks, int32(patience.Milliseconds())
	req.Topics = append(req.Topics, t)
	return req
}

// produce appends a batch and returns its base offset.
func (w *wire) produce(topic string, partition int32, batch record.Batch) int64 {
	w.t.Helper()
	resp := ask[*kmsg.ProduceResponse](w, produceRequest(topic, partition, -1, batch))
	p := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		w.t.Fatalf("produce to %s-%d: %v", topic, partition, err)
	}
	return p.BaseOffset
}

// topicID asks for the id of a topic.
func (w *wire) topicID(topic string) [16]byte {
	w.t.Helper()
	resp := ask[*kmsg.MetadataResponse](w, metadataRequest(12, false, topic))
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		w.t.Fatalf("metadata of %s: %v", topic, err)
	}
	return resp.Topics[0].TopicID
}

// metadataRequest asks for topics by name.
func metadataRequest(version int16, create bool, topics ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation = version, create
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	return req
}
