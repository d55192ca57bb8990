//go:build integration

package integration

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// scale weighs a broker.
type scale struct {
	*broker
	t     *testing.T
	empty int64
}

// newScale starts a broker that has hardly any garbage: what is measured is what things take.
func newScale(t *testing.T) *scale {
	t.Helper()
	if raceEnabled() {
		t.Skip("the race detector takes many times the memory")
	}
	b := newBroker(t, "log.flush.interval.messages=1000000")
	b.env = []string{"GOGC=20"}
	b.launch()
	s := &scale{broker: b, t: t}
	s.empty = s.resident()
	return s
}

// resident returns the memory that the broker has resident, after its metrics were collected.
func (s *scale) resident() int64 {
	s.t.Helper()
	s.metrics()
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.run.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// expect fails if the broker has taken more than most for each of n things.
func (s *scale) expect(what string, n int, most int64) {
	s.t.Helper()
	each := (s.resident() - s.empty) / int64(n)
	s.t.Logf("%s: %.1f KiB each, for %d", what, float64(each)/1024, n)
	if each > most {
		s.t.Errorf("%s: %d bytes each, no more than %d are assumed", what, each, most)
	}
}

// TestCostOfConnections holds what connections take against what the broker's limits assume that they do
// (internal/broker/limits.go).
func TestCostOfConnections(t *testing.T) {
	s := newScale(t)
	const connections = 2000
	var conns []net.Conn
	for i := range connections {
		c, err := dialFrom(i, s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	eventually(t, patience, "all are connected", func() bool { return s.metric("segue_connections") == connections })
	s.expect("a connection that has asked nothing", connections, 16<<10)
	request := frame(requestHead(18, 0))
	for _, c := range conns {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 30)); err != nil {
			t.Fatal(err)
		}
	}
	s.expect("a connection that has asked something", connections, 24<<10)
}

// TestCostOfTopics does so for topics of one partition.
func TestCostOfTopics(t *testing.T) {
	s := newScale(t)
	const topics = 1000
	for i := range topics / 250 {
		var names []string
		for j := range 250 {
			names = append(names, fmt.Sprintf("topic-%d", i*250+j))
		}
		ask[*kmsg.MetadataResponse](s.dial(t), metadataRequest(9, true, names...))
	}
	s.expect("a topic with one partition, in which nothing is, metrics included", topics, 16<<10)
	cl := s.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i := range topics {
		cl.Produce(t.Context(), &kgo.Record{Topic: fmt.Sprintf("topic-%d", i), Value: []byte("a record")}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(within(t, 2*patience)); err != nil {
		t.Fatal(err)
	}
	s.expect("a topic with one partition and a record, metrics included", topics, 24<<10)
}
