//go:build integration && unix

package clients

import (
	"encoding/json"
	"fmt"
	"time"
)

// config returns a topic's config as the judge is told it.
func (s *session) config(topic, name string) string {
	s.t.Helper()
	described, err := s.adm.DescribeTopicConfigs(within(s.t), topic)
	if err == nil {
		err = described[0].Err
	}
	if err != nil {
		s.t.Fatalf("the judge describes %s: %v", topic, err)
	}
	for _, c := range described[0].Configs {
		if c.Key == name {
			return c.MaybeValue()
		}
	}
	return ""
}

// hasConfig waits until a topic's config has a value: a controller tells its brokers of it.
func (s *session) hasConfig(topic, name, want string) {
	s.t.Helper()
	eventually(s.t, 10*time.Second, fmt.Sprintf("%s of %s is %s", name, topic, want), func() error {
		if got := s.config(topic, name); got != want {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
}

// create: a topic with configs of its own.
func (s *session) create() {
	s.do("create", "topic=created", "partitions=3", "retention.ms=3600000", "cleanup.policy=compact")
	s.awaitTopic("created", 3)
	s.hasConfig("created", "retention.ms", "3600000")
	s.hasConfig("created", "cleanup.policy", "compact")
}

// describe: the client is told of a topic's partitions, its configs and the defaults.
func (s *session) describe() {
	topic := s.topic(2, "retention.ms=7200000")
	out := s.do("describe", "topic="+topic)
	if out.count() != 1 {
		s.t.Fatalf("it has written %d lines, want one", out.count())
	}
	var told struct {
		Partitions int
		Configs    map[string]string
	}
	if err := json.Unmarshal(out.lines[0], &told); err != nil {
		s.t.Fatal(err)
	}
	if told.Partitions != 2 || told.Configs["retention.ms"] != "7200000" || told.Configs["cleanup.policy"] != "delete" {
		s.t.Errorf("it is told %s", out.lines[0])
	}
}

// alter: a config is changed, and the others stay as they are, unless the client has only the way that replaces all.
func (s *session) alter() {
	topic := s.topic(1, "retention.ms=7200000", "max.message.bytes=2000000")
	s.do("alter", "topic="+topic, "retention.ms=3600000")
	s.hasConfig(topic, "retention.ms", "3600000")
	other := "2000000"
	if s.c.replaces {
		other = "1048588" // the default
	}
	if got := s.config(topic, "max.message.bytes"); got != other {
		s.t.Errorf("retention.ms was altered, and max.message.bytes, which was 2000000, is %s, want %s", got, other)
	}
}

// grow: a topic gets more partitions.
func (s *session) grow() {
	topic := s.topic(1)
	s.do("grow", "topic="+topic, "partitions=3")
	s.awaitTopic(topic, 3)
}

// deletes: a topic goes.
func (s *session) deletes() {
	topic := s.topic(1)
	s.do("delete", "topic="+topic)
	s.awaitTopic(topic, 0)
}
