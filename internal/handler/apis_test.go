package handler

import (
	"fmt"
	"testing"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"segue/internal/server"
)

// What the broker serves and shows. Kafka 4.4 serves the same from its own lowest versions on, which for some APIs lie
// above these.
func TestRows(t *testing.T) {
	s := newStage(t)
	want := map[int16][3]int16{ // lowest shown, lowest and highest served
		0: {0, 3, 13}, 1: {4, 4, 18}, 2: {0, 0, 11}, 3: {0, 0, 13}, 8: {0, 0, 10}, 9: {0, 0, 10},
		10: {0, 0, 6}, 11: {0, 0, 9}, 12: {0, 0, 4}, 13: {0, 0, 5}, 14: {0, 0, 5}, 15: {0, 0, 6}, 16: {0, 0, 5}, 18: {0, 0, 5}, 19: {0, 0, 7},
		20: {0, 0, 6}, 21: {0, 0, 2}, 22: {0, 0, 5}, 23: {0, 0, 4}, 32: {0, 0, 4}, 42: {0, 0, 3}, 47: {0, 0, 0},
		33: {0, 0, 2}, 35: {0, 0, 5}, 37: {0, 0, 3}, 44: {0, 0, 1}, 60: {0, 0, 2}, 74: {0, 0, 1},
		24: {0, 0, 5}, 25: {0, 0, 4}, 26: {0, 0, 5}, 27: {1, 1, 2}, 28: {0, 0, 6}, 57: {0, 0, 2}, 61: {0, 0, 0}, 65: {0, 0, 0}, 66: {0, 0, 2},
	}
	if len(s.rows) != len(want) {
		t.Errorf("%d rows, want %d", len(s.rows), len(want))
	}
	var apis []server.API
	for key, row := range s.rows {
		if got := [3]int16{row.Advertise, row.Min, row.Max}; got != want[key] {
			t.Errorf("%s is shown from %d and served from %d to %d, want %v", kmsg.NameForKey(key), row.Advertise, row.Min, row.Max, want[key])
		}
		if row.Open != (key == 18) {
			t.Errorf("%s may be used before authentication: %v", kmsg.NameForKey(key), row.Open)
		}
		// What may be sent before authentication must be small, and only batches are really large.
		if limit := row.MaxFrame; (limit == 0) != (key == 0) || row.Open && limit > 64<<10 || limit > 16<<20 {
			t.Errorf("%s has a frame limit of %d", kmsg.NameForKey(key), limit)
		}
		apis = append(apis, row)
	}
	config := server.Config{Listeners: []server.Listener{{Name: "PLAINTEXT", Addr: "127.0.0.1:0"}}}
	if _, err := server.New(config, apis, zerolog.Nop()); err != nil {
		t.Errorf("the server does not take the rows: %v", err)
	}
}

// What is served reaches up to the newest stable Kafka that the client library knows.
func TestNewestVersions(t *testing.T) {
	stable := kversion.Stable()
	for key, row := range newStage(t).rows {
		if newest, ok := stable.LookupMaxKeyVersion(key); !ok || row.Max != newest {
			t.Errorf("%s is served up to version %d, Kafka %s takes %d", kmsg.NameForKey(key), row.Max, stable.VersionGuess(), newest)
		}
	}
}

// Every version of every API answers an empty request with something that its version can be read in.
func TestEveryVersionAnswers(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	for _, key := range sortedKeys(s.rows) {
		for version := s.rows[key].Min; version <= s.rows[key].Max; version++ {
			t.Run(fmt.Sprintf("%s v%d", kmsg.NameForKey(key), version), func(t *testing.T) {
				m := kmsg.RequestForKey(key)
				if p, ok := m.(*kmsg.ProduceRequest); ok {
					p.Acks = 1
				}
				if resp := s.ask(m, version); resp == nil {
					t.Error("no answer")
				}
			})
		}
	}
}
