// Command kafkago is a member of a consumer group by segmentio/kafka-go. It writes a line with partition and offset for each
// record, commits it, and leaves when its standard input ends:
//
//	kafkago BROKER GROUP TOPIC
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/segmentio/kafka-go"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: kafkago BROKER GROUP TOPIC")
		os.Exit(2)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := consume(ctx, os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "kafkago:", err)
		os.Exit(1)
	}
}

func consume(ctx context.Context, broker, group, topic string) (err error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{broker}, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset,
		GroupBalancers: []kafka.GroupBalancer{kafka.RangeGroupBalancer{}},
		SessionTimeout: 3 * time.Second, HeartbeatInterval: 200 * time.Millisecond, RebalanceTimeout: 10 * time.Second,
		MaxWait: 100 * time.Millisecond, MinBytes: 1, MaxBytes: 1 << 20,
		ErrorLogger: kafka.LoggerFunc(func(text string, args ...any) { fmt.Fprintf(os.Stderr, text+"\n", args...) }),
	})
	defer func() { err = errors.Join(err, reader.Close()) }()
	for {
		m, err := reader.FetchMessage(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Println(m.Partition, m.Offset)
		if err := reader.CommitMessages(ctx, m); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "commit:", err) // the next commit takes it along
		}
	}
}
