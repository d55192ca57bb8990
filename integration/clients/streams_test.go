//go:build integration && unix

package clients

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// streams is Kafka Streams as TestStreams runs it: a word count with processing.guarantee=exactly_once_v2.
func streams() *client {
	const classes, libraries = "target/streams/classes", "target/streams/lib/*"
	return &client{
		name: "kafka-streams", folder: "java", needs: []string{"java", "javac", "mvn"},
		install: [][]string{{"mvn", "-q", "-B", "-P", "streams", "dependency:copy-dependencies"}},
		compile: [][]string{{"javac", "-Xlint:all", "-Werror", "--release", "17", "-encoding", "UTF-8", "-d", classes, "-cp", libraries,
			"src/streams/WordCount.java"}},
		command: []string{"java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
			"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classes + ":" + libraries, "WordCount"},
	}
}

// TestStreams has Kafka Streams count words exactly once, while the broker is killed, and the application itself. Of each word
// every count is there once, in order, for who reads what is committed.
func TestStreams(t *testing.T) {
	c, binaries := streams(), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	if err := c.ready(ctx, binaries); err != nil {
		if errors.Is(err, errMissing) && os.Getenv("SEGUE_CLIENTS_STRICT") != "1" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	s := newSession(t, c, servers(t, binaries)(t))
	s.scenario = "streams-to"
	to := s.topic(2)
	s.scenario = "streams"
	from := s.topic(2)
	state := t.TempDir()
	begin := func() *run { return s.start("count", from, to, state) }

	stop, written := s.words(from)
	app, counted := begin(), 0
	more := func(n int) {
		t.Helper()
		eventually(t, 2*patience, fmt.Sprintf("%d words more are counted", n), func() error {
			select {
			case <-app.ended:
				app.fail("it has ended: %v", app.err)
			default:
			}
			if now := count(s.readCommitted(to)); now < counted+n {
				return fmt.Errorf("%d are", now)
			}
			return nil
		})
		counted = count(s.readCommitted(to))
	}
	for _, kill := range []func(){
		func() {},
		func() {
			if err := s.b.restart(within(t), true); err != nil {
				t.Fatal(err)
			}
		},
		func() { app.kill(); app = begin() },
		func() {
			app.kill()
			if err := s.b.restart(within(t), true); err != nil {
				t.Fatal(err)
			}
			app = begin()
		},
	} {
		kill()
		more(200)
	}
	stop()
	eventually(t, 2*patience, "all words are counted", func() error {
		if n := count(s.readCommitted(to)); n < written() {
			return fmt.Errorf("%d of %d are", n, written())
		}
		return nil
	})
	app.end()
	if n := s.counts(to); n != written() {
		t.Errorf("%d words are counted, want %d", n, written())
	}
}

// words writes words to a topic until it is stopped, and tells how many there are then.
func (s *session) words(topic string) (stop func(), written func() int) {
	s.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.b.addr()), kgo.DefaultProduceTopic(topic), kgo.RetryBackoffFn(soon))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, n := make(chan struct{}), 0
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ; ctx.Err() == nil; n++ {
			<-tick.C
			cl.Produce(context.Background(), kgo.StringRecord(fmt.Sprint("word", rand.IntN(10))), func(_ *kgo.Record, err error) {
				if err != nil {
					s.t.Errorf("the judge writes a word: %v", err)
				}
			})
		}
		flush, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := cl.Flush(flush); err != nil {
			s.t.Errorf("the judge writes words: %v", err)
		}
	}()
	ended := false
	stop = func() {
		if !ended {
			ended = true
			cancel()
			<-done
			cl.Close()
		}
	}
	s.t.Cleanup(stop)
	return stop, func() int { return n }
}

// counts expects that each word's counts are one, two and so on, and returns how many there are in all.
func (s *session) counts(topic string) (n int) {
	s.t.Helper()
	for _, records := range s.readCommitted(topic) {
		if err := consecutive(records); err != nil {
			s.t.Fatal(err)
		}
		n += len(records)
	}
	return n
}

// consecutive says what is wrong with the counts in a partition.
func consecutive(records []*kgo.Record) error {
	last := map[string]int{}
	for _, r := range records {
		word := string(r.Key)
		last[word]++
		if string(r.Value) != strconv.Itoa(last[word]) {
			return fmt.Errorf("at %d-%d the count of %s is %q, want %d", r.Partition, r.Offset, word, r.Value, last[word])
		}
	}
	return nil
}
