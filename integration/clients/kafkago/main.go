// Command kafkago is the driver of segmentio/kafka-go in the matrix of clients, and a member of the groups of package
// integration. Package clients says what its verbs do. With session= (ms), a member hears of others and is missed sooner.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: kafkago BOOTSTRAP VERB [NAME=VALUE …]")
		os.Exit(2)
	}
	d := driver{broker: os.Args[1], args: map[string]string{}, client: &kafka.Client{Addr: kafka.TCP(os.Args[1])}}
	for _, a := range os.Args[3:] {
		name, value, _ := strings.Cut(a, "=")
		d.args[name] = value
	}
	if err := d.run(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "kafkago:", err)
		os.Exit(1)
	}
}

// maxWait is what other clients wait in a fetch by default. Here it is 10 s, and the end of a reader waits for it.
const maxWait = 500 * time.Millisecond

// driver is a run of the program.
type driver struct {
	broker string
	args   map[string]string
	client *kafka.Client
}

func (d driver) run(verb string) error {
	ctx := context.Background()
	switch verb {
	case "version":
		return version()
	case "produce":
		return d.produce(ctx)
	case "consume":
		return d.read(ctx, int(d.number("count")), func(r *kafka.Reader) error { return r.SetOffset(kafka.FirstOffset) })
	case "seek":
		at := time.UnixMilli(d.number("timestamp"))
		return d.read(ctx, 0, func(r *kafka.Reader) error { return r.SetOffsetAt(ctx, at) })
	case "group":
		return d.group()
	case "steady":
		return d.steady(ctx)
	}
	return d.administer(ctx, verb)
}

// line is what is written of a record.
type line struct {
	Partition int               `json:"partition"`
	Offset    int64             `json:"offset"`
	Timestamp int64             `json:"timestamp,omitempty"`
	Key       string            `json:"key,omitempty"`
	Value     string            `json:"value"`
	Headers   map[string]string `json:"headers,omitempty"`
}

func write(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

func show(m kafka.Message) error {
	headers := map[string]string{}
	for _, h := range m.Headers {
		headers[h.Key] = string(h.Value)
	}
	return write(line{m.Partition, m.Offset, m.Time.UnixMilli(), string(m.Key), string(m.Value), headers})
}

func (d driver) number(name string) int64 {
	n, _ := strconv.ParseInt(d.args[name], 10, 64)
	return n
}

// complain has the library tell what it tries again.
func complain(text string, args ...any) { fmt.Fprintf(os.Stderr, text+"\n", args...) }

func version() error {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("the program does not know its modules")
	}
	for _, m := range build.Deps {
		if m.Path == "github.com/segmentio/kafka-go" {
			return write(map[string]string{"client": "kafka-go", "version": m.Version})
		}
	}
	return errors.New("kafka-go is not among the program's modules")
}

func (d driver) writer() *kafka.Writer {
	return &kafka.Writer{
		Addr: kafka.TCP(d.broker), Topic: d.args["topic"], RequiredAcks: kafka.RequireAll,
		BatchTimeout: 10 * time.Millisecond, ErrorLogger: kafka.LoggerFunc(complain),
	}
}

func (d driver) produce(ctx context.Context) (err error) {
	w := d.writer()
	defer func() { err = errors.Join(err, w.Close()) }()
	w.Compression = map[string]kafka.Compression{
		"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
	}[d.args["codec"]]
	if most := d.number("max"); most > 0 {
		w.BatchBytes = most
	}
	var messages []kafka.Message
	for i := range int(d.number("count")) {
		value := fmt.Sprint("v", i)
		value += strings.Repeat(".", max(0, int(d.number("size"))-len(value)))
		messages = append(messages, kafka.Message{
			Key: fmt.Append(nil, "k", i), Value: []byte(value), Headers: []kafka.Header{{Key: "n", Value: fmt.Append(nil, i)}},
		})
	}
	return w.WriteMessages(ctx, messages...)
}

// read writes count records of all partitions, or the first one of each if count is 0.
func (d driver) read(ctx context.Context, count int, begin func(*kafka.Reader) error) error {
	partitions, err := d.partitions(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first, records := count == 0, make(chan kafka.Message)
	for p := range partitions {
		r := kafka.NewReader(kafka.ReaderConfig{
			Brokers: []string{d.broker}, Topic: d.args["topic"], Partition: p, MaxWait: maxWait,
			ErrorLogger: kafka.LoggerFunc(complain),
		})
		defer r.Close()
		if err := begin(r); err != nil {
			return err
		}
		go func() {
			for {
				m, err := r.ReadMessage(ctx)
				if err != nil {
					return // it tries again by itself what can be
				}
				select {
				case records <- m:
				case <-ctx.Done():
					return
				}
				if first {
					return
				}
			}
		}()
	}
	if first {
		count = partitions
	}
	for range count {
		if err := show(<-records); err != nil {
			return err
		}
	}
	return nil
}

func (d driver) group() (err error) {
	config := kafka.ReaderConfig{
		Brokers: []string{d.broker}, GroupID: d.args["group"], Topic: d.args["topic"], StartOffset: kafka.FirstOffset,
		MaxWait: maxWait, ErrorLogger: kafka.LoggerFunc(complain),
	}
	if session := time.Duration(d.number("session")) * time.Millisecond; session > 0 {
		config.GroupBalancers = []kafka.GroupBalancer{kafka.RangeGroupBalancer{}}
		config.SessionTimeout, config.HeartbeatInterval, config.RebalanceTimeout = session, session/15, 10*time.Second
		config.MaxWait = 100 * time.Millisecond
	}
	reader := kafka.NewReader(config)
	defer func() { err = errors.Join(err, reader.Close()) }()
	for ctx := untilInputEnds(); ; {
		m, err := reader.FetchMessage(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil { // the broker is away, maybe; the reader goes on by itself
			fmt.Fprintln(os.Stderr, "group:", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		if err := show(m); err != nil {
			return err
		}
		if err := reader.CommitMessages(context.Background(), m); err != nil {
			fmt.Fprintln(os.Stderr, "commit:", err) // the next commit takes it along
		}
	}
}

// untilInputEnds returns a context that ends with the standard input.
func untilInputEnds() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}

func (d driver) steady(ctx context.Context) (err error) {
	w, offset := d.writer(), int64(-1)
	w.Completion = func(messages []kafka.Message, err error) {
		if err == nil {
			offset = messages[0].Offset
		}
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i, until := 0, untilInputEnds(); until.Err() == nil; <-tick.C {
		value := fmt.Sprint("s", i)
		if err := w.WriteMessages(ctx, kafka.Message{Value: []byte(value)}); err != nil {
			fmt.Fprintln(os.Stderr, value, err) // and again
			continue
		}
		if err := write(line{Offset: offset, Value: value}); err != nil {
			return err
		}
		i++
	}
	return nil
}
