//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	clientBytes  = 256 << 20 // of values, in each run
	uncompressed = "none"
)

// traffic is what a client writes and reads again.
type traffic struct {
	size       int // of a value
	partitions int32
	codec      string
	synced     bool // before it is acknowledged, in Kafka too
}

func (tr traffic) records() int { return clientBytes / tr.size }

func (tr traffic) String() string {
	text := fmt.Sprintf("%d bytes, %d partitions", tr.size, tr.partitions)
	if tr.partitions == 1 {
		text = strings.TrimSuffix(text, "s")
	}
	if tr.codec != uncompressed {
		text += ", " + tr.codec
	}
	if tr.synced {
		text += ", flush.messages=1"
	}
	return text
}

// traffics are what is measured. The codecs and the syncs are looked at with one size and number of partitions only, so
// that the table stays readable.
func traffics() (all []traffic) {
	for _, size := range []int{100, 1 << 10} {
		for _, partitions := range []int32{1, 16, 100} {
			all = append(all, traffic{size: size, partitions: partitions, codec: uncompressed})
		}
	}
	for _, codec := range []string{"gzip", "snappy", "lz4", "zstd"} {
		all = append(all, traffic{size: 1 << 10, partitions: 16, codec: codec})
	}
	return append(all, traffic{size: 1 << 10, partitions: 16, codec: uncompressed, synced: true})
}

// client is a real client. Each function returns how long the records took, without its own start.
type client interface {
	String() string
	produce(ctx context.Context, addr, topic string, tr traffic) (time.Duration, error)
	consume(ctx context.Context, addr, topic string, tr traffic) (time.Duration, error)
}

// spent is what writing or reading some traffic came to. The CPU is that of all runs, because that of one is little.
type spent struct {
	took time.Duration // of the fastest run
	cpu  float64       // seconds
	runs int
}

// figures are those of a row of the table.
func (s spent) figures(tr traffic) []float64 {
	const mib, gib = 1 << 20, 1 << 30
	values := float64(tr.records() * tr.size)
	return []float64{values / mib / s.took.Seconds(), float64(tr.records()) / s.took.Seconds(), s.cpu / float64(s.runs) / (values / gib)}
}

// measureClients has real clients write and read, on Segue and on Kafka if there is one.
func measureClients(ctx context.Context, s stage, t *table) error {
	if err := touchMemory(); err != nil {
		return err
	}
	clients := []client{newFranz()}
	if s.kafka != nil {
		clients = append(clients, java{s.kafka})
	}
	var came [2][]spent // the second is Kafka's
	for i, start := range s.subjects() {
		sub, err := start(ctx)
		if err != nil {
			return err
		}
		came[i], err = runClients(ctx, sub, clients)
		sub.Kill()
		if err != nil {
			return err
		}
	}
	for i, what := range clientRows(clients) {
		var kafka []float64
		if s.kafka != nil {
			kafka = came[1][i].figures(what.traffic)
		}
		t.beside(what.name, came[0][i].figures(what.traffic), kafka, "MiB/s, records/s, CPU s/GiB")
	}
	return nil
}

type clientRow struct {
	name    string
	traffic traffic
}

// clientRows are the rows of the table, in the order in which runClients returns what they are to tell.
func clientRows(clients []client) (rows []clientRow) {
	for _, c := range clients {
		for _, tr := range traffics() {
			for _, direction := range []string{"produce", "consume"} {
				rows = append(rows, clientRow{fmt.Sprintf("%v, %s, %v", c, direction, tr), tr})
			}
		}
	}
	return rows
}

// runClients has all clients do all that is measured on a server, and first of all something that is not: Java compiles
// what it finds to be used much.
func runClients(ctx context.Context, s subject, clients []client) (all []spent, err error) {
	for _, c := range clients {
		var warm [2]spent
		if err := runClient(ctx, s, c, traffics()[0], &warm); err != nil {
			return nil, err
		}
		for _, tr := range traffics() {
			var got [2]spent
			for range 3 {
				if err := runClient(ctx, s, c, tr, &got); err != nil {
					return nil, fmt.Errorf("%v, %v: %w", c, tr, err)
				}
			}
			all = append(all, got[:]...)
		}
	}
	return all, nil
}

// runClient has a client write some traffic to a new topic and read it again, and adds to what either came to.
func runClient(ctx context.Context, s subject, c client, tr traffic, got *[2]spent) error {
	topic := fmt.Sprint(topicName, "-", time.Now().UnixNano()) // Kafka may not yet know that the last one is gone
	configs := map[string]string{}
	if tr.synced {
		configs["flush.messages"] = "1"
	}
	if err := makeTopic(s.addr(), topic, tr.partitions, configs); err != nil {
		return err
	}
	for i, run := range []func(context.Context, string, string, traffic) (time.Duration, error){c.produce, c.consume} {
		cpu := s.process().cpu()
		took, err := run(ctx, s.addr(), topic, tr)
		if err != nil {
			return err
		}
		if got[i].runs == 0 || took < got[i].took {
			got[i].took = took
		}
		got[i].cpu += s.process().cpu() - cpu
		got[i].runs++
	}
	return dropTopic(s.addr(), topic)
}

// dropTopic deletes a topic.
func dropTopic(addr, topic string) error {
	w, err := dial(addr)
	if err != nil {
		return err
	}
	defer w.close()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis, req.TopicNames = 5, 30_000, []string{topic}
	resp, err := ask[*kmsg.DeleteTopicsResponse](w, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
}
