// Command sarama is a member of a consumer group by IBM/sarama. It writes a line with partition and offset for each record,
// commits what it has written, and leaves when its standard input ends:
//
//	sarama BROKER GROUP TOPIC
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/IBM/sarama"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: sarama BROKER GROUP TOPIC")
		os.Exit(2)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := consume(ctx, os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "sarama:", err)
		os.Exit(1)
	}
}

func consume(ctx context.Context, broker, group, topic string) (err error) {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	config.Consumer.MaxWaitTime = 100 * time.Millisecond // commits wait behind a fetch
	config.Consumer.Group.Session.Timeout = 3 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	config.Metadata.RefreshFrequency = time.Second
	member, err := sarama.NewConsumerGroup([]string{broker}, group, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, member.Close()) }()
	for ctx.Err() == nil { // each round is a generation
		if err := member.Consume(ctx, []string{topic}, printer{}); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "consume:", err) // the broker is away, maybe
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// printer writes what it is given.
type printer struct{}

// Setup implements sarama.ConsumerGroupHandler.
func (printer) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup implements sarama.ConsumerGroupHandler.
func (printer) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim implements sarama.ConsumerGroupHandler.
func (printer) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	out := bufio.NewWriter(os.Stdout)
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			fmt.Fprintln(out, m.Partition, m.Offset)
			if err := out.Flush(); err != nil {
				return err
			}
			session.MarkMessage(m, "")
		case <-session.Context().Done():
			return nil
		}
	}
}
