//go:build integration && unix

package clients

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lie is a driver that does not tell, or do, what it should, in a scenario that must fail for it.
type lie struct {
	name     string
	scenario string
	script   string // of a shell: $0 is an honest driver, "$@" its arguments
	lacks    []string
	want     string // an expression for what the judge has to say
}

// heard makes an honest driver hear other arguments than it is given.
func heard(edit string) string { return `exec "$0" $(echo "$*" | sed '` + edit + `')` }

// told changes the lines of an honest driver.
func told(edit string) string { return `"$0" "$@" | sed -u '` + edit + `'` }

// only has one verb of a scenario lie.
func only(verb, script string) string {
	return `if [ "$2" != ` + verb + ` ]; then exec "$0" "$@"; fi; ` + script
}

func lies() []lie {
	return []lie{
		{"another codec", "produce-gzip", heard(`s/codec=gzip/codec=lz4/`), nil, `in codec 3, want 1 \(gzip\)`},
		{"no codec", "produce-zstd", heard(`s/codec=zstd/codec=none/`), nil, `in codec 0, want 4 \(zstd\)`},
		{"a record too few", "produce-none", heard(`s/count=300/count=299/`), nil, `299 records arrive, want 300`},
		{"a value that is written otherwise", "produce-none", heard(`s/size=200/size=201/`), nil, `record 0: at 0 there is .* of 201 bytes`},
		{"a record that is not read", "consume", told(`3d`), nil, `read 249 records, want 250`},
		{"a value that is read otherwise", "consume", told(`s/"value":"v7\./"value":"v8./`), nil, `it has read "k7": "v8\.`},
		{"a header that is read otherwise", "consume", told(`s/"n":"7"/"n":"8"/`), nil, `headers map\[n:8\]; want "k7"`},
		{"records out of order", "consume", told(`3{h;d;};4G`), nil, `it has read the record at 3, want 2`},
		{"no JSON", "consume", told(`7s/}$//`), nil, `it is no JSON`},
		{"a failure", "consume", `"$0" "$@"; exit 1`, nil, `exit status 1`},
		{"no such thing where there should be", "consume", `echo no consumers >&2; exit 3`, nil, `has no consume, which is not expected: no consumers`},
		{"such a thing where there should be none", "consume", `exec "$0" "$@"`, []string{"consume"}, `consume works, although liar is said not to have it`},
		{"no commits", "group", heard(`s/group=team/group=another/`), nil, `of partition \d, 0 is committed, want \d+`},
		{"no commit and no leaving at the end", "group", `dir=$(mktemp -d); mkfifo $dir/in; "$0" "$@" <$dir/in & exec 3>$dir/in; rm -r $dir
			cat >/dev/null; kill -9 $!; exit 0`, nil, `is committed, want|the group has no members`},
		{"a record that is processed twice", "group", told(`20p`), nil, `processed again`},
		{"a record that is not where it is sought", "seek", told(`s/"offset":50,/"offset":51,/`), nil, `it begins at map\[0:51 1:25\]`},
		{"an offset that is not the record's", "seek", told(`s/"value":"50"/"value":"51"/`), nil, `at 0-50 it has read "51"`},
		{"a description of another topic", "describe", told(`s/7200000/1/`), nil, `it is told .*"retention\.ms":"1"`},
		{"an alteration that drops other configs", "alter", `"$0" "$1" delete "$3" && exec "$0" "$1" create "$3" partitions=1 "$4"`, nil,
			`max\.message\.bytes, which was 2000000, is 1048588`},
		{"an acknowledgement of nothing", "reconnect", only("steady", `"$0" "$@" | awk '{ print; fflush() }
			END { print "{\"offset\":-1,\"value\":\"s" NR "\"}" }'`), nil, `s\d+ was acknowledged, and is lost`},
		{"an acknowledgement of another place", "reconnect", only("steady", told(`s/"offset":7,/"offset":8,/`)), nil,
			`"s7" was acknowledged at 8, where it is not`},
		{"a commit of what was aborted", "transaction", only("transact", told(`s/"a5"/"c5"/`)), nil, `transaction 5 was committed, and 0 of its 3 records are there`},
		{"an abort of what was committed", "transaction", only("transact", told(`s/"c4"/"a4"/`)), nil, `transaction 4 was aborted, and 3 of its records`},
		{"what is aborted is read", "transaction", only("committed", heard(`s/ committed / consume /`)), nil, `committed are .*, and it has read \[0\.0 .* 1\.0`},
		{"a record that is made twice", "transform", only("transform", heard(`s/group=mill id=two/group=other id=two/`)), nil, `is there 2 times, want 1`},
		{"values written before", "reconnect", only("steady", `sleep 0.2 | "$0" "$@" >/dev/null; "$0" "$@" | sed -u 's/"offset":[0-9]*/"offset":-1/'`), nil,
			`at \d+ there is "s0", want s\d+`},
	}
}

// TestLies proves the judge: it finds each lie, and names it.
func TestLies(t *testing.T) {
	binaries := t.TempDir()
	newServer := servers(t, binaries)
	honest := goClients()[0]
	if err := honest.ready(t.Context(), binaries); err != nil {
		t.Fatal(err)
	}
	for _, l := range lies() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(scenarios(), func(sc scenario) bool { return sc.name == l.scenario })
			v := &verdict{TB: t}
			s := newSession(t, &client{
				name: "liar", command: []string{"sh", "-c", l.script, honest.command[0]}, lacks: l.lacks, idempotent: true, transacts: true,
			}, newServer(t))
			s.t = v
			v.of(func() { s.play(scenarios()[i]) })
			if said := strings.Join(v.said, "\n"); !regexp.MustCompile(l.want).MatchString(said) || said == "" {
				t.Errorf("the judge says %q, want %s", said, l.want)
			}
		})
	}
}

// verdict takes down why a test fails, instead of failing.
type verdict struct {
	testing.TB
	said []string
}

// of runs a test to its end.
func (v *verdict) of(test func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		test()
	}()
	<-done
}

func (v *verdict) Errorf(format string, args ...any) {
	v.said = append(v.said, fmt.Sprintf(format, args...))
}

func (v *verdict) Fatalf(format string, args ...any) {
	v.Errorf(format, args...)
	runtime.Goexit()
}

func (v *verdict) Skipf(format string, args ...any) { v.Fatalf("skipped: "+format, args...) }

func (v *verdict) Fatal(args ...any) { v.Fatalf("%s", fmt.Sprint(args...)) }

// TestKept: what an idempotent producer promises is more than what another one does.
func TestKept(t *testing.T) {
	for _, tt := range []struct {
		log        string
		idempotent bool
		want       string
	}{
		{"s0 s1 s2", true, ""},
		{"s0 s1 s1 s2", false, ""},
		{"s0 s1 s1 s2", true, `at 2 there is "s1" again, of an idempotent producer`},
		{"s0 s1 s2 s1", false, `at 3 there is "s1", want s3`},
		{"s0 s2 s1", false, `at 1 there is "s2", want s1`},
		{"s0 s1", true, "s2 was acknowledged, and is lost"},
	} {
		got := ""
		if err := kept(strings.Fields(tt.log), 3, tt.idempotent); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("of %s it says %q, want %q", tt.log, got, tt.want)
		}
	}
}

// TestEnded: what is told of a transaction's end has to be true of all its records, and what is told of none has to be whole.
func TestEnded(t *testing.T) {
	for _, tt := range []struct {
		counts map[string]int
		told   string
		want   string
	}{
		{map[string]int{"0": 3, "3": 3}, "c0 a2", ""},
		{map[string]int{"0": 3}, "c0 c1", "transaction 1 was committed, and 0 of its 3 records are there"},
		{map[string]int{"0": 2}, "c0", "transaction 0 was committed, and 2 of its 3 records are there"},
		{map[string]int{"0": 4}, "c0", "transaction 0 was committed, and 4 of its 3 records are there"},
		{map[string]int{"2": 1}, "a2", "transaction 2 was aborted, and 1 of its records are there"},
		{map[string]int{"4": 1}, "", "of transaction 4 there are 1 records of 3"},
	} {
		var told []line
		for _, v := range strings.Fields(tt.told) {
			told = append(told, line{Value: v})
		}
		if got := fmt.Sprint(ended(tt.counts, told)); got != cmp.Or(tt.want, "<nil>") {
			t.Errorf("of %v, told %q, it says %q, want %q", tt.counts, tt.told, got, tt.want)
		}
	}
}

// TestConsecutive: each word's counts go up by one.
func TestConsecutive(t *testing.T) {
	for log, want := range map[string]string{
		"a1 b1 a2 a3 b2": "<nil>",
		"a1 a3":          `at 0-1 the count of a is "3", want 2`,
		"a1 a2 a2":       `at 0-2 the count of a is "2", want 3`,
		"b2":             `at 0-0 the count of b is "2", want 1`,
	} {
		var records []*kgo.Record
		for i, text := range strings.Fields(log) {
			records = append(records, &kgo.Record{Offset: int64(i), Key: []byte(text[:1]), Value: []byte(text[1:])})
		}
		if got := fmt.Sprint(consecutive(records)); got != want {
			t.Errorf("of %s it says %q, want %q", log, got, want)
		}
	}
}

// TestReady: what cannot be had is missing; what does not compile is a failure.
func TestReady(t *testing.T) {
	here, fails := []string{"true"}, []string{"sh", "-c", "echo a reason; exit 1"}
	for _, tt := range []struct {
		name    string
		c       client
		missing bool
	}{
		{"a program", client{needs: []string{"no-such-program"}, install: [][]string{here}}, true},
		{"a registry", client{install: [][]string{here, fails}, compile: [][]string{here}}, true},
		{"a driver that compiles", client{install: [][]string{here}, compile: [][]string{fails}}, false},
	} {
		if err := tt.c.ready(t.Context(), t.TempDir()); err == nil || errors.Is(err, errMissing) != tt.missing {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
