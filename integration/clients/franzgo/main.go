// Command franzgo is the driver of franz-go in the matrix of clients. Package clients says what its verbs do.
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

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: franzgo BOOTSTRAP VERB [NAME=VALUE …]")
		os.Exit(2)
	}
	d := driver{broker: os.Args[1], args: map[string]string{}, configs: map[string]*string{}, out: json.NewEncoder(os.Stdout)}
	for _, a := range os.Args[3:] {
		name, value, _ := strings.Cut(a, "=")
		d.args[name] = value
		if strings.Contains(name, ".") {
			d.configs[name] = &value
		}
	}
	if err := d.run(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "franzgo:", err)
		os.Exit(1)
	}
}

// driver is a run of the program.
type driver struct {
	broker  string
	args    map[string]string
	configs map[string]*string // the arguments that are configs of topics
	out     *json.Encoder
}

// line is what is written of a record.
type line struct {
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Timestamp int64             `json:"timestamp,omitempty"`
	Key       string            `json:"key,omitempty"`
	Value     string            `json:"value"`
	Headers   map[string]string `json:"headers,omitempty"`
}

func (d driver) run(verb string) error {
	ctx := context.Background()
	switch verb {
	case "version":
		return d.version()
	case "produce":
		return d.produce(ctx)
	case "consume":
		return d.consume(ctx)
	case "group":
		return d.group(ctx)
	case "seek":
		return d.seek(ctx)
	case "steady":
		return d.steady(ctx)
	case "transact":
		return d.transact(ctx)
	case "committed":
		return d.consume(ctx, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	case "transform":
		return d.transform(ctx)
	}
	return d.administer(ctx, verb)
}

func (d driver) version() error {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("the program does not know its modules")
	}
	for _, m := range build.Deps {
		if m.Path == "github.com/twmb/franz-go" {
			return d.out.Encode(map[string]string{"client": "franz-go", "version": m.Version})
		}
	}
	return errors.New("franz-go is not among the program's modules")
}

func (d driver) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(d.broker)}, opts...)...)
}

func (d driver) number(name string) int {
	n, _ := strconv.Atoi(d.args[name])
	return n
}

func (d driver) print(r *kgo.Record) error {
	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	return d.out.Encode(line{r.Partition, r.Offset, r.Timestamp.UnixMilli(), string(r.Key), string(r.Value), headers})
}

func (d driver) produce(ctx context.Context) error {
	codec := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[d.args["codec"]]
	opts := []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(50 * time.Millisecond)}
	if most := d.number("max"); most > 0 {
		opts = append(opts, kgo.ProducerBatchMaxBytes(int32(most)))
	}
	cl, err := d.client(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	var records []*kgo.Record
	for i := range d.number("count") {
		value := fmt.Sprint("v", i)
		value += strings.Repeat(".", max(0, d.number("size")-len(value)))
		records = append(records, &kgo.Record{
			Topic: d.args["topic"], Key: fmt.Append(nil, "k", i), Value: []byte(value),
			Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, i)}},
		})
	}
	return cl.ProduceSync(ctx, records...).FirstErr()
}

func (d driver) consume(ctx context.Context, opts ...kgo.Opt) error {
	cl, err := d.client(append(opts, kgo.ConsumeTopics(d.args["topic"]), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for left := d.number("count"); left > 0; {
		fetches := cl.PollRecords(ctx, left)
		if err := fetches.Err(); err != nil {
			return err
		}
		for r := range fetches.RecordsAll() {
			left--
			if err := d.print(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d driver) group(ctx context.Context) error {
	cl, err := d.client(kgo.ConsumeTopics(d.args["topic"]), kgo.ConsumerGroup(d.args["group"]),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitInterval(200*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close() // which leaves the group
	ctx = untilInputEnds(ctx)
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "group:", err) // the broker is away, maybe; it tries again by itself
		}
		for r := range fetches.RecordsAll() {
			if err := d.print(r); err != nil {
				return err
			}
		}
	}
	return cl.CommitUncommittedOffsets(context.Background())
}

// untilInputEnds returns a context that ends with the standard input.
func untilInputEnds(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}

func (d driver) seek(ctx context.Context) error {
	at := time.UnixMilli(int64(d.number("timestamp")))
	cl, err := d.client(kgo.ConsumeTopics(d.args["topic"]), kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(at.UnixMilli())))
	if err != nil {
		return err
	}
	defer cl.Close()
	topics, err := kadm.NewClient(cl).ListTopics(ctx, d.args["topic"])
	if err != nil {
		return err
	}
	seen := map[int32]bool{}
	for len(seen) < len(topics[d.args["topic"]].Partitions) {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for r := range fetches.RecordsAll() {
			if seen[r.Partition] {
				continue
			}
			seen[r.Partition] = true
			if err := d.print(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d driver) steady(ctx context.Context) error {
	cl, err := d.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i, until := 0, untilInputEnds(ctx); until.Err() == nil; i++ {
		r, err := cl.ProduceSync(ctx, &kgo.Record{Topic: d.args["topic"], Value: fmt.Append(nil, "s", i)}).First()
		if err != nil {
			return err // it tries again for ever by itself
		}
		if err := d.out.Encode(line{Partition: r.Partition, Offset: r.Offset, Value: string(r.Value)}); err != nil {
			return err
		}
		<-tick.C
	}
	return nil
}

func (d driver) administer(ctx context.Context, verb string) error {
	cl, err := d.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	admin, topic := kadm.NewClient(cl), d.args["topic"]
	switch verb {
	case "create":
		_, err := admin.CreateTopic(ctx, int32(d.number("partitions")), -1, d.configs, topic)
		return err
	case "describe":
		return d.describe(ctx, admin)
	case "alter":
		var changes []kadm.AlterConfig
		for name, value := range d.configs {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: value})
		}
		altered, err := admin.AlterTopicConfigs(ctx, changes, topic)
		if err != nil {
			return err
		}
		return altered[0].Err
	case "grow":
		grown, err := admin.UpdatePartitions(ctx, d.number("partitions"), topic)
		if err != nil {
			return err
		}
		return grown.Error()
	case "delete":
		deleted, err := admin.DeleteTopics(ctx, topic)
		if err != nil {
			return err
		}
		return deleted.Error()
	}
	return fmt.Errorf("there is no verb %q", verb)
}

func (d driver) describe(ctx context.Context, admin *kadm.Client) error {
	topic := d.args["topic"]
	topics, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return err
	}
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return err
	}
	configs := map[string]string{}
	for _, c := range described[0].Configs {
		configs[c.Key] = c.MaybeValue()
	}
	return d.out.Encode(map[string]any{"partitions": len(topics[topic].Partitions), "configs": configs})
}
