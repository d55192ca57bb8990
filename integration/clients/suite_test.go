//go:build integration && unix

package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

// installTimeout is for what installs a client, from afar and with all that it needs.
const installTimeout = 20 * time.Minute

// session is a client at work on a broker in one scenario.
type session struct {
	t        testing.TB
	scenario string
	c        *client
	b        server
	cl       *kgo.Client // of the judge
	adm      *kadm.Client
}

// scenario is one thing that clients are asked to do.
type scenario struct {
	name string
	run  func(s *session)
}

func scenarios() []scenario {
	var list []scenario
	for i := range codecs {
		list = append(list, scenario{"produce-" + codecs[i].name, func(s *session) { s.produce(i) }})
	}
	return append(list,
		scenario{"consume", (*session).consume},
		scenario{"group", (*session).group},
		scenario{"seek", (*session).seek},
		scenario{"create", (*session).create},
		scenario{"describe", (*session).describe},
		scenario{"alter", (*session).alter},
		scenario{"grow", (*session).grow},
		scenario{"delete", (*session).deletes},
		scenario{"large", (*session).large},
		scenario{"reconnect", (*session).reconnect},
		scenario{"transaction", (*session).transaction},
		scenario{"transform", (*session).transform},
	)
}

// TestClients runs each client through each scenario.
func TestClients(t *testing.T) {
	clients, err := wanted()
	if err != nil {
		t.Fatal(err)
	}
	results := &table{page: os.Getenv("SEGUE_CLIENTS_TABLE"), columns: []string{}}
	if err := results.fits(); err != nil {
		t.Fatal(err) // before all the work
	}
	binaries := t.TempDir()
	newServer := servers(t, binaries)
	for _, sc := range scenarios() {
		results.columns = append(results.columns, sc.name)
	}
	for _, c := range clients {
		results.rows = append(results.rows, &row{client: c.name, cells: map[string]string{}})
	}
	t.Cleanup(func() { results.publish(t) })
	for i, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			runClient(t, c, results.rows[i], binaries, newServer)
		})
	}
}

// runClient installs a client and runs its scenarios, on a broker of its own.
func runClient(t *testing.T, c *client, r *row, binaries string, newServer func(t *testing.T) server) {
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	if err := c.ready(ctx, binaries); err != nil {
		r.failure = "FAIL: it cannot be installed"
		if errors.Is(err, errMissing) && os.Getenv("SEGUE_CLIENTS_STRICT") != "1" {
			r.failure = "skipped: " + strings.SplitN(strings.TrimSpace(err.Error()), "\n", 2)[0]
			t.Skip(err)
		}
		t.Fatal(err)
	}
	s := newSession(t, c, newServer(t))
	t.Run("version", func(t *testing.T) {
		s := *s
		s.t = t
		s.version(r)
	})
	for _, sc := range scenarios() {
		begun := time.Now()
		t.Run(sc.name, func(t *testing.T) {
			s := *s
			s.t = t
			if !c.tries(sc.name) {
				r.cells[sc.name] = ""
				t.Skip("its driver does not try this")
			}
			r.cells[sc.name] = "FAIL"
			defer func() {
				switch {
				case t.Failed():
				case t.Skipped():
					r.cells[sc.name] = "-"
				default:
					r.cells[sc.name] = "ok"
				}
			}()
			s.play(sc)
		})
		if took := time.Since(begun); took > 10*time.Second {
			t.Logf("%s took %v", sc.name, took.Round(time.Second))
		}
	}
}

// play runs a scenario to its end, or until it fails.
func (s *session) play(sc scenario) {
	s.t.Helper()
	s.scenario = sc.name
	sc.run(s)
	if slices.Contains(s.c.lacks, sc.name) {
		s.t.Errorf("%s works, although %s is said not to have it", sc.name, s.c.name)
	}
}

// newSession lets a client work on a broker, with a judge beside it.
func newSession(t *testing.T, c *client, b server) *session {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr()), kgo.MaxVersions(kversion.V2_8_0()), // a Fetch that names topics
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(8<<20), kgo.RetryBackoffFn(soon))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &session{t: t, c: c, b: b, cl: cl, adm: kadm.NewClient(cl)}
}

// soon has the judge try again soon.
func soon(int) time.Duration { return 50 * time.Millisecond }

// lacks ends the scenario of a client that has no such thing.
func (s *session) lacks(reason string) {
	s.t.Helper()
	if !slices.Contains(s.c.lacks, s.scenario) {
		s.t.Fatalf("%s has no %s, which is not expected: %s", s.c.name, s.scenario, reason)
	}
	s.t.Skipf("%s has no such thing: %s", s.c.name, reason)
}

// version asks the driver which library it uses.
func (s *session) version(r *row) {
	var told struct{ Client, Version string }
	out := s.do("version")
	if out.count() != 1 {
		s.t.Fatalf("%d lines, want one", out.count())
	}
	if err := json.Unmarshal(out.lines[0], &told); err != nil || told.Client == "" || told.Version == "" {
		s.t.Errorf("%s: %v", out.lines[0], err)
	}
	r.version = told.Client + " " + told.Version
}

// row is what came of a client. It belongs to the client's test until that has ended.
type row struct {
	client, version string
	failure         string            // why nothing was run, if nothing was
	cells           map[string]string // by scenario
}

// table is what came of all of them.
type table struct {
	page    string // the file that it is put into; nothing if empty
	columns []string
	rows    []*row
}

func (tb *table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| client | version | %s |\n", strings.Join(tb.columns, " | "))
	fmt.Fprintf(&b, "|%s\n", strings.Repeat(" --- |", len(tb.columns)+2))
	for _, r := range tb.rows {
		fmt.Fprintf(&b, "| %s | %s |", r.client, r.version)
		for _, c := range tb.columns {
			cell := r.cells[c]
			if r.failure != "" {
				cell, _, _ = strings.Cut(r.failure, ":")
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	for _, r := range tb.rows {
		if r.failure != "" {
			fmt.Fprintf(&b, "\n%s: %s", r.client, r.failure)
		}
	}
	return b.String()
}

// The table stands between these lines of a page.
const tableBegins, tableEnds = "<!-- the table begins -->\n", "<!-- the table ends -->\n"

// fits says whether there is a place for the table in the page that is asked for. A page that there is not is to be made.
func (tb *table) fits() error {
	_, _, err := tb.around()
	return err
}

// around returns what stands before the table in its page and behind it, with the lines themselves.
func (tb *table) around() (before, after string, err error) {
	if tb.page == "" {
		return "", "", nil
	}
	page, err := os.ReadFile(filepath.Clean(tb.page))
	if errors.Is(err, os.ErrNotExist) {
		return tableBegins, tableEnds, nil
	}
	if err != nil {
		return "", "", err
	}
	before, rest, ok := strings.Cut(string(page), tableBegins)
	_, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok || !ok2 {
		return "", "", fmt.Errorf("%s has no place for the table: the lines %q and %q", tb.page, tableBegins, tableEnds)
	}
	return before + tableBegins, tableEnds + after, nil
}

// publish prints the table and puts it into the page that is asked for.
func (tb *table) publish(t *testing.T) {
	fmt.Printf("\n%s\n", tb)
	if tb.page == "" {
		return
	}
	before, after, err := tb.around()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tb.page, []byte(before+tb.String()+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
