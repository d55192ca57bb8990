// Command sarama is the driver of IBM/sarama in the matrix of clients, and a member of the groups of package integration.
// Package clients says what its verbs do. With session= (ms), a member hears of others and is missed sooner.
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

	"github.com/IBM/sarama"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: sarama BOOTSTRAP VERB [NAME=VALUE …]")
		os.Exit(2)
	}
	d := driver{brokers: []string{os.Args[1]}, args: map[string]string{}, config: sarama.NewConfig()}
	for _, a := range os.Args[3:] {
		name, value, _ := strings.Cut(a, "=")
		d.args[name] = value
	}
	if err := d.run(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "sarama:", err)
		os.Exit(1)
	}
}

// driver is a run of the program.
type driver struct {
	brokers []string
	args    map[string]string
	config  *sarama.Config
}

func (d driver) run(verb string) error {
	switch verb {
	case "version":
		return version()
	case "produce":
		return d.produce()
	case "consume":
		return d.consume()
	case "group":
		return d.group()
	case "seek":
		return d.seek()
	case "steady":
		return d.steady()
	}
	return d.administer(verb)
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

// write writes a line. It may be called concurrently: a line is one write.
func write(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

func show(m *sarama.ConsumerMessage) error {
	headers := map[string]string{}
	for _, h := range m.Headers {
		headers[string(h.Key)] = string(h.Value)
	}
	return write(line{m.Partition, m.Offset, m.Timestamp.UnixMilli(), string(m.Key), string(m.Value), headers})
}

func (d driver) number(name string) int64 {
	n, _ := strconv.ParseInt(d.args[name], 10, 64)
	return n
}

func version() error {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("the program does not know its modules")
	}
	for _, m := range build.Deps {
		if m.Path == "github.com/IBM/sarama" {
			return write(map[string]string{"client": "sarama", "version": m.Version})
		}
	}
	return errors.New("sarama is not among the program's modules")
}

func (d driver) produce() (err error) {
	d.config.Producer.RequiredAcks, d.config.Producer.Return.Successes = sarama.WaitForAll, true
	d.config.Producer.Flush.Frequency = 50 * time.Millisecond
	if err := d.config.Producer.Compression.UnmarshalText([]byte(d.args["codec"])); err != nil {
		return err
	}
	if most := d.number("max"); most > 0 {
		d.config.Producer.MaxMessageBytes = int(most)
	}
	producer, err := sarama.NewSyncProducer(d.brokers, d.config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close()) }()
	var messages []*sarama.ProducerMessage
	for i := range int(d.number("count")) {
		value := fmt.Sprint("v", i)
		value += strings.Repeat(".", max(0, int(d.number("size"))-len(value)))
		messages = append(messages, &sarama.ProducerMessage{
			Topic: d.args["topic"], Key: sarama.StringEncoder(fmt.Sprint("k", i)), Value: sarama.StringEncoder(value),
			Headers: []sarama.RecordHeader{{Key: []byte("n"), Value: fmt.Append(nil, i)}},
		})
	}
	return producer.SendMessages(messages)
}

func (d driver) consume() error {
	return d.read(int(d.number("count")), func(sarama.Client, int32) (int64, error) { return sarama.OffsetOldest, nil })
}

// seek writes the first record of each partition from its time on.
func (d driver) seek() error {
	return d.read(0, func(client sarama.Client, partition int32) (int64, error) {
		return client.GetOffset(d.args["topic"], partition, d.number("timestamp"))
	})
}

// read writes count records of all partitions, or the first one of each if count is 0.
func (d driver) read(count int, from func(sarama.Client, int32) (int64, error)) error {
	client, err := sarama.NewClient(d.brokers, d.config)
	if err != nil {
		return err
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return err
	}
	defer consumer.Close()
	partitions, err := client.Partitions(d.args["topic"])
	if err != nil {
		return err
	}
	first := count == 0
	records, done := make(chan *sarama.ConsumerMessage), make(chan struct{})
	defer close(done)
	for _, p := range partitions {
		offset, err := from(client, p)
		if err != nil {
			return err
		}
		pc, err := consumer.ConsumePartition(d.args["topic"], p, offset)
		if err != nil {
			return err
		}
		defer pc.AsyncClose()
		go func() {
			for m := range pc.Messages() {
				select {
				case records <- m:
				case <-done:
					return
				}
				if first {
					return
				}
			}
		}()
	}
	if first {
		count = len(partitions)
	}
	for range count {
		if err := show(<-records); err != nil {
			return err
		}
	}
	return nil
}

func (d driver) group() (err error) {
	d.config.Consumer.Offsets.Initial = sarama.OffsetOldest
	d.config.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	if session := time.Duration(d.number("session")) * time.Millisecond; session > 0 {
		d.config.Consumer.Group.Session.Timeout, d.config.Consumer.Group.Heartbeat.Interval = session, session/15
		d.config.Consumer.MaxWaitTime = 100 * time.Millisecond // commits wait behind a fetch
		d.config.Metadata.RefreshFrequency = time.Second
	}
	member, err := sarama.NewConsumerGroup(d.brokers, d.args["group"], d.config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, member.Close()) }()
	ctx := untilInputEnds()
	for ctx.Err() == nil { // each round is a generation
		if err := member.Consume(ctx, []string{d.args["topic"]}, printer{}); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "consume:", err) // the broker is away, maybe
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	return nil
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

// printer writes what it is given.
type printer struct{}

// Setup implements sarama.ConsumerGroupHandler.
func (printer) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup implements sarama.ConsumerGroupHandler.
func (printer) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim implements sarama.ConsumerGroupHandler.
func (printer) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			if err := show(m); err != nil {
				return err
			}
			session.MarkMessage(m, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func (d driver) steady() (err error) {
	d.config.Producer.RequiredAcks, d.config.Producer.Return.Successes = sarama.WaitForAll, true
	producer, err := sarama.NewSyncProducer(d.brokers, d.config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close()) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i, ctx := 0, untilInputEnds(); ctx.Err() == nil; <-tick.C {
		value := fmt.Sprint("s", i)
		partition, offset, err := producer.SendMessage(&sarama.ProducerMessage{Topic: d.args["topic"], Value: sarama.StringEncoder(value)})
		if err != nil {
			fmt.Fprintln(os.Stderr, value, err) // and again
			continue
		}
		if err := write(line{Partition: partition, Offset: offset, Value: value}); err != nil {
			return err
		}
		i++
	}
	return nil
}
