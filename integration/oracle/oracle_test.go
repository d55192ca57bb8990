package oracle

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/integration/kafka"
)

var record = flag.Bool("record", false, "ask an Apache Kafka, and write what it answers to testdata")

func versionsFile() string { return filepath.Join("testdata", "versions.json") }

func apiName(key int16) string { return kmsg.NameForKey(key) }

// rangeOf are the versions in which a case is held.
func (c oneCase) rangeOf(v versions) (from, to int16) {
	served := v[c.api.Name()]
	from, to = max(served[0], c.from), served[1]
	if c.to > 0 {
		to = min(to, c.to)
	}
	return from, to
}

// TestAnswers: Segue answers as Kafka does.
func TestAnswers(t *testing.T) {
	if *record {
		t.Skip("Kafka is asked")
	}
	var v versions
	if err := readJSON(versionsFile(), &v); err != nil {
		t.Fatal(err)
	}
	known := readKnown(t)
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.replay(t, v, known)
		})
	}
	t.Cleanup(func() { known.allNeeded(t) }) // when all of them are done
}

// allNeeded expects that every known difference is one.
func (k *known) allNeeded(t *testing.T) {
	if f := flag.Lookup("test.run"); f.Value.String() != "" || t.Failed() {
		return // not all differences may have been seen
	}
	for _, e := range k.entries {
		if !e.used {
			t.Errorf("known.txt has a difference that is none any more: %s", e.line)
		}
	}
}

// replay holds a scenario with Segue and compares.
func (s scenario) replay(t *testing.T, v versions, known *known) {
	kafka, err := readTranscript(transcriptFile(s.name))
	if err != nil {
		t.Fatal(err)
	}
	subject := startSegue(t, append(slices.Clone(baseSettings), s.settings...))
	for _, c := range s.cases {
		where := s.name + "/" + c.name
		differences := map[string][]int16{}
		from, to := c.rangeOf(v)
		for version := from; version <= to; version++ {
			answers, ok := kafka[c.name][version]
			if !ok {
				t.Errorf("%s: Kafka has not been asked in version %d; `make oracle` asks it", where, version)
				continue
			}
			for _, d := range compareSteps(where, answers, subject.hold(t, c, version, v)) {
				if !known.has(d) {
					differences[d.String()] = append(differences[d.String()], version)
				}
			}
		}
		for _, text := range slices.Sorted(maps.Keys(differences)) {
			t.Errorf("versions %v of %s: Kafka -> here:\n%s", differences[text], c.api.Name(), text)
		}
	}
}

// TestRecord asks Kafka.
func TestRecord(t *testing.T) {
	if !*record {
		t.Skip("`make oracle` asks a Kafka")
	}
	k, err := kafka.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("asking Apache Kafka %s", k.Version())
	v := askVersions(t, startKafka(t, k, nil))
	if err := os.WriteFile(versionsFile(), append(pretty(nil, plain(v), ""), '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			subject := startKafka(t, k, append(slices.Clone(baseSettings), s.settings...))
			tr := transcript{}
			for _, c := range s.cases {
				tr[c.name] = map[int16][]step{}
				from, to := c.rangeOf(v)
				for version := from; version <= to; version++ {
					tr[c.name][version] = subject.hold(t, c, version, v)
				}
			}
			if t.Failed() {
				return // what is there already is better
			}
			if err := tr.write(transcriptFile(s.name)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// askVersions returns the versions that a Kafka serves and that can be asked in. Those of Produce that it only shows, for
// the sake of old clients, are not among them.
func askVersions(t *testing.T, s *subject) versions {
	found := versions{}
	all := versions{"ApiVersions": {0, 4}}
	s.hold(t, oneCase{api: kmsg.ApiVersions, run: func(c *client) {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "oracle", "1"
		for _, k := range ask[*kmsg.ApiVersionsResponse](c, req).ApiKeys {
			if kind := kmsg.RequestForKey(k.ApiKey); kind != nil {
				found[apiName(k.ApiKey)] = [2]int16{k.MinVersion, min(k.MaxVersion, kind.MaxVersion())}
			}
		}
	}}, 4, all)
	found["Produce"] = [2]int16{3, found["Produce"][1]}
	return found
}
