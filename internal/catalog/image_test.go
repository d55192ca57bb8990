package catalog

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func id(n int) [16]byte { return [16]byte{0: byte(n >> 8), 1: byte(n), 2: 1} }

func create(n int, name string) CreateTopic {
	return CreateTopic{Name: name, ID: id(n), Partitions: 1, ReplicationFactor: 1}
}

func apply(t testing.TB, i *Image, changes ...Change) *Image {
	t.Helper()
	next, err := i.Apply(changes...)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestEmptyImage(t *testing.T) {
	var i Image
	if _, ok := i.Topic("a"); ok || len(i.Topics()) > 0 || len(i.Deleting()) > 0 || i.Version() != 0 || i.Size() != 0 {
		t.Error("the empty image holds something")
	}
	if _, ok := i.TopicByID(id(1)); ok || i.BrokerConfigs("") != nil || len(i.Brokers()) > 0 || i.ClusterID() != "" {
		t.Error("the empty image holds something")
	}
	if next := apply(t, &i); next != &i {
		t.Error("no changes made another image")
	}
}

func TestLifeOfATopic(t *testing.T) {
	configs := map[string]string{"retention.ms": "5"}
	c := create(1, "b.c")
	c.Configs, c.Partitions, c.Internal = configs, 3, true
	one := apply(t, &Image{}, c)
	configs["retention.ms"] = "changed by the caller"
	topic, ok := one.Topic("b.c")
	if !ok || topic.Configs["retention.ms"] != "5" || topic.Partitions != 3 || !topic.Internal || one.Partitions() != 3 || one.Version() != 1 {
		t.Fatalf("%+v", topic)
	}
	if byID, ok := one.TopicByID(id(1)); !ok || byID != topic {
		t.Error("found under its name only")
	}
	if name, ok := one.Collision("b_c"); !ok || name != "b.c" {
		t.Errorf("collision with %q", name)
	}
	two := apply(t, one, SetPartitions{id(1), 5}, SetTopicConfigs{id(1), map[string]string{"x": "y"}}, create(2, "a"))
	if topic, _ := two.Topic("b.c"); topic.Partitions != 5 || topic.Configs["x"] != "y" || len(topic.Configs) != 1 || two.Partitions() != 6 {
		t.Errorf("%+v", topic)
	}
	if two.Version() != 2 || two.Topics()[0].Name != "a" || two.Topics()[1].Name != "b.c" {
		t.Errorf("%v", two.Topics())
	}
	three := apply(t, two, DeleteTopic{id(1)}, create(3, "b_c"))
	if _, ok := three.Topic("b.c"); ok || len(three.Deleting()) != 1 || three.Deleting()[0].Partitions != 5 || three.Partitions() != 2 {
		t.Error("the deleted topic is still there")
	}
	if name, _ := three.Collision("b.c"); name != "b_c" {
		t.Errorf("collision with %q", name)
	}
	four := apply(t, three, PurgeTopic{id(1)})
	if len(four.Deleting()) != 0 || four.Size() != 2 {
		t.Error("the purged topic is still there")
	}
	if topic, _ := one.Topic("b.c"); topic.Partitions != 3 || len(one.Topics()) != 1 {
		t.Error("an older image has changed")
	}
}

func TestRefusedChanges(t *testing.T) {
	start := apply(t, &Image{}, Start{"c"}, create(1, "a.b"), create(2, "gone"), DeleteTopic{id(2)})
	with := func(change func(*CreateTopic)) CreateTopic {
		c := create(9, "new")
		change(&c)
		return c
	}
	many := map[string]string{}
	for n := range MaxConfigs + 1 {
		many[fmt.Sprint(n)] = ""
	}
	for _, test := range []struct {
		name   string
		change Change
		want   error
	}{
		{"name taken", create(9, "a.b"), kerr.TopicAlreadyExists},
		{"name collides", create(9, "a_b"), kerr.InvalidTopicException},
		{"bad name", create(9, "a/b"), kerr.InvalidTopicException},
		{"id taken", create(1, "new"), kerr.InvalidRequest},
		{"id of a deleted one", create(2, "new"), kerr.InvalidRequest},
		{"no id", with(func(c *CreateTopic) { c.ID = [16]byte{} }), kerr.InvalidRequest},
		{"reserved id", with(func(c *CreateTopic) { c.ID = [16]byte{15: 1} }), kerr.InvalidRequest},
		{"no partitions", with(func(c *CreateTopic) { c.Partitions = 0 }), kerr.InvalidPartitions},
		{"too many partitions", with(func(c *CreateTopic) { c.Partitions = MaxPartitions + 1 }), kerr.InvalidPartitions},
		{"no replicas", with(func(c *CreateTopic) { c.ReplicationFactor = 0 }), kerr.InvalidReplicationFactor},
		{"too many configs", with(func(c *CreateTopic) { c.Configs = many }), kerr.InvalidConfig},
		{"long values", with(func(c *CreateTopic) {
			half := strings.Repeat("x", MaxConfigBytes/2)
			c.Configs = map[string]string{"a": half, "b": half}
		}), kerr.InvalidConfig},
		{"long name", with(func(c *CreateTopic) { c.Configs = map[string]string{strings.Repeat("x", MaxConfigName+1): ""} }), kerr.InvalidConfig},
		{"empty name", with(func(c *CreateTopic) { c.Configs = map[string]string{"": ""} }), kerr.InvalidConfig},
		{"not UTF-8", with(func(c *CreateTopic) { c.Configs = map[string]string{"a": "\xff"} }), kerr.InvalidConfig},
		{"delete unknown", DeleteTopic{id(9)}, kerr.UnknownTopicID},
		{"delete deleted", DeleteTopic{id(2)}, kerr.UnknownTopicID},
		{"purge live", PurgeTopic{id(1)}, kerr.UnknownTopicID},
		{"configs of unknown", SetTopicConfigs{ID: id(9)}, kerr.UnknownTopicID},
		{"bad configs", SetTopicConfigs{id(1), map[string]string{"": ""}}, kerr.InvalidConfig},
		{"partitions of unknown", SetPartitions{id(9), 9}, kerr.UnknownTopicID},
		{"same partitions", SetPartitions{id(1), 1}, kerr.InvalidPartitions},
		{"far too many", SetPartitions{id(1), math.MaxInt32}, kerr.InvalidPartitions},
		{"bad broker configs", SetBrokerConfigs{"", map[string]string{"a": "\xff"}}, kerr.InvalidConfig},
		{"bad broker", SetBrokerConfigs{strings.Repeat("1", 300), nil}, kerr.InvalidRequest},
		{"no producer ids", ReserveProducerIDs{0}, kerr.InvalidRequest},
		{"too many producer ids", ReserveProducerIDs{MaxReservation + 1}, kerr.InvalidRequest},
	} {
		next, err := start.Apply(create(5, "fine"), test.change)
		if !errors.Is(err, test.want) || next != nil {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if _, ok := start.Topic("fine"); ok || len(start.Topics()) != 1 {
			t.Fatalf("%s: the image has changed", test.name)
		}
	}
}

func TestStarts(t *testing.T) {
	if _, err := (&Image{}).Apply(Start{}); err == nil {
		t.Error("a first start without a cluster id")
	}
	one := apply(t, &Image{}, Start{"first"})
	two := apply(t, one, Start{"other"})
	if one.StartCount() != 1 || two.StartCount() != 2 || two.ClusterID() != "first" {
		t.Errorf("%d %d %s", one.StartCount(), two.StartCount(), two.ClusterID())
	}
	last, err := Rebuild(Parts{StartCount: math.MaxInt32, ClusterID: "c"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := last.Apply(Start{}); err == nil {
		t.Error("the leader epoch went round")
	}
}

func TestProducerIDs(t *testing.T) {
	i := apply(t, &Image{}, ReserveProducerIDs{10}, ReserveProducerIDs{1})
	if i.NextProducerID() != 11 {
		t.Errorf("%d", i.NextProducerID())
	}
	last, err := Rebuild(Parts{NextProducerID: math.MaxInt64 - 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := last.Apply(ReserveProducerIDs{2}); err == nil {
		t.Error("producer ids went round")
	}
	apply(t, last, ReserveProducerIDs{1})
}

func TestBrokerConfigs(t *testing.T) {
	one := apply(t, &Image{}, SetBrokerConfigs{"", map[string]string{"a": "1"}}, SetBrokerConfigs{"7", map[string]string{"b": "2"}})
	two := apply(t, one, SetBrokerConfigs{"", nil})
	if one.BrokerConfigs("")["a"] != "1" || !slices.Equal(one.Brokers(), []string{"", "7"}) || !slices.Equal(two.Brokers(), []string{"7"}) {
		t.Errorf("%v %v", one.Brokers(), two.Brokers())
	}
}

// model is the catalog with plain maps, as one would write it at first.
type model struct {
	live, deleting map[[16]byte]Topic
	brokers        map[string]map[string]string
	starts         int32
	next           int64
}

func (m model) clone() model {
	return model{maps.Clone(m.live), maps.Clone(m.deleting), maps.Clone(m.brokers), m.starts, m.next}
}

// step makes a random change, and the model after it; ok tells whether it is possible.
func (m model) step(r *rand.Rand) (change Change, next model, ok bool) {
	next = m.clone()
	some := id(1 + r.IntN(60))
	topic, live := m.live[some]
	switch r.IntN(8) {
	case 0, 1, 2:
		// Few letters, so that names are taken and collide.
		name := strings.Map(func(rune) rune { return rune("a._"[r.IntN(3)]) }, strings.Repeat("x", 1+r.IntN(3)))
		c := CreateTopic{Name: name, ID: some, Partitions: int32(r.IntN(4)), ReplicationFactor: 1, Configs: map[string]string{"n": fmt.Sprint(r.IntN(3))}}
		_, gone := m.deleting[some]
		ok = !live && !gone && c.Partitions > 0 && name != "." && name != ".."
		for _, other := range m.live {
			ok = ok && !HasCollision(other.Name, name)
		}
		next.live[some] = Topic{Name: name, ID: some, Partitions: c.Partitions, ReplicationFactor: 1, Configs: maps.Clone(c.Configs)}
		return c, next, ok
	case 3:
		delete(next.live, some)
		next.deleting[some] = topic
		return DeleteTopic{some}, next, live
	case 4:
		_, gone := m.deleting[some]
		delete(next.deleting, some)
		return PurgeTopic{some}, next, gone
	case 5:
		topic.Configs = map[string]string{"m": fmt.Sprint(r.IntN(9))}
		next.live[some] = topic
		return SetTopicConfigs{some, topic.Configs}, next, live
	case 6:
		old := topic.Partitions
		topic.Partitions = int32(r.IntN(9))
		next.live[some] = topic
		return SetPartitions{some, topic.Partitions}, next, live && topic.Partitions > old
	default:
		next.starts++
		return Start{"c"}, next, true
	}
}

func (m model) image(version int64) (*Image, error) {
	p := Parts{Version: version, StartCount: m.starts, NextProducerID: m.next, BrokerConfigs: m.brokers}
	if m.starts > 0 {
		p.ClusterID = "c"
	}
	p.Topics = slices.Collect(maps.Values(m.live))
	p.Deleting = slices.Collect(maps.Values(m.deleting))
	return Rebuild(p)
}

// TestRandomChanges compares images with the model after every change, alone and several at once, and looks at the
// end whether any image on the way has changed since.
func TestRandomChanges(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := model{live: map[[16]byte]Topic{}, deleting: map[[16]byte]Topic{}, brokers: map[string]map[string]string{}}
		image := &Image{}
		var images, copies []*Image
		for range 150 {
			var changes []Change
			possible, next := true, m
			for range 1 + r.IntN(3) {
				change, after, ok := next.step(r)
				changes = append(changes, change)
				if possible = ok; !ok {
					break
				}
				next = after
			}
			result, err := image.Apply(changes...)
			if (err == nil) != possible {
				t.Fatalf("seed %d: %+v: %v, possible %v", seed, changes, err, possible)
			}
			if err != nil {
				continue
			}
			m, image = next, result
			want, err := m.image(image.Version())
			if err != nil {
				t.Fatalf("seed %d: the model is impossible: %v", seed, err)
			}
			if !image.Equal(want) || !want.Equal(image) {
				t.Fatalf("seed %d: after %+v: got %+v, want %+v", seed, changes, image.Topics(), want.Topics())
			}
			checkLookups(t, image)
			images, copies = append(images, image), append(copies, want)
		}
		for n := range images {
			if !images[n].Equal(copies[n]) {
				t.Fatalf("seed %d: image %d has changed since it was made", seed, n)
			}
		}
	}
}

// checkLookups looks every topic up in every way there is.
func checkLookups(t *testing.T, i *Image) {
	t.Helper()
	partitions := 0
	for n, topic := range i.Topics() {
		byName, _ := i.Topic(topic.Name)
		byID, _ := i.TopicByID(topic.ID)
		name, _ := i.Collision(strings.ReplaceAll(topic.Name, "_", "."))
		if byName != topic || byID != topic || name != topic.Name || n > 0 && i.Topics()[n-1].Name >= topic.Name {
			t.Fatalf("%s is not found in every way", topic.Name)
		}
		partitions += int(topic.Partitions)
	}
	if i.Partitions() != partitions || i.byName.size != len(i.Topics()) || i.byID.size != len(i.Topics()) {
		t.Fatalf("%d partitions, counted %d", i.Partitions(), partitions)
	}
}

func TestEqualSeesEveryDifference(t *testing.T) {
	parts := func() Parts {
		return Parts{
			Version: 1, ClusterID: "c", StartCount: 2, NextProducerID: 3,
			Topics:        []Topic{{Name: "a", ID: id(1), Partitions: 1, ReplicationFactor: 1, Configs: map[string]string{"x": "y"}}},
			Deleting:      []Topic{{Name: "a", ID: id(2), Partitions: 1, ReplicationFactor: 1}},
			BrokerConfigs: map[string]map[string]string{"1": {"x": "y"}},
		}
	}
	base, err := Rebuild(parts())
	if err != nil {
		t.Fatal(err)
	}
	for n, change := range []func(*Parts){
		func(p *Parts) { p.Version++ }, func(p *Parts) { p.ClusterID = "d" }, func(p *Parts) { p.StartCount++ },
		func(p *Parts) { p.NextProducerID++ }, func(p *Parts) { p.Topics = nil }, func(p *Parts) { p.Topics[0].Name = "b" },
		func(p *Parts) { p.Topics[0].Partitions++ }, func(p *Parts) { p.Topics[0].Configs["x"] = "z" },
		func(p *Parts) { p.Topics[0].Internal = true }, func(p *Parts) { p.Topics[0].ReplicationFactor++ },
		func(p *Parts) { p.Topics[0].ID = id(3) }, func(p *Parts) { p.Deleting = nil }, func(p *Parts) { p.Deleting[0].Name = "z" },
		func(p *Parts) { p.BrokerConfigs = nil }, func(p *Parts) { p.BrokerConfigs["1"]["x"] = "z" },
	} {
		p := parts()
		change(&p)
		other, err := Rebuild(p)
		if err != nil || base.Equal(other) || other.Equal(base) {
			t.Errorf("difference %d is not seen (%v)", n, err)
		}
	}
	if same, err := Rebuild(parts()); err != nil || !base.Equal(same) {
		t.Errorf("two alike are not equal (%v)", err)
	}
}

func TestRebuildRefuses(t *testing.T) {
	topic := Topic{Name: "a", ID: id(1), Partitions: 1, ReplicationFactor: 1}
	other := topic
	other.ID = id(2)
	for n, p := range []Parts{
		{Version: -1}, {StartCount: -1}, {NextProducerID: -1}, {StartCount: 1}, {ClusterID: strings.Repeat("c", 300)},
		{Topics: []Topic{{}}}, {Deleting: []Topic{{}}}, {Topics: []Topic{topic, topic}}, {Topics: []Topic{topic, other}},
		{Topics: []Topic{topic}, Deleting: []Topic{topic}}, {BrokerConfigs: map[string]map[string]string{"": {"": ""}}},
	} {
		if _, err := Rebuild(p); err == nil {
			t.Errorf("parts %d make an image", n)
		}
	}
}

// BenchmarkCreate10000 creates 10,000 topics one by one.
func BenchmarkCreate10000(b *testing.B) {
	changes := make([]Change, 10_000)
	for n := range changes {
		changes[n] = create(n, fmt.Sprintf("some.topic-%d", n))
	}
	b.ReportAllocs()
	for b.Loop() {
		image := &Image{}
		for _, change := range changes {
			next, err := image.Apply(change)
			if err != nil {
				b.Fatal(err)
			}
			image = next
		}
	}
}

func BenchmarkTopicLookup(b *testing.B) {
	image := &Image{}
	names := make([]string, 10_000)
	for n := range names {
		names[n] = fmt.Sprintf("topic-%d", n)
		image = apply(b, image, create(n, names[n]))
	}
	for n := 0; b.Loop(); n++ {
		if _, ok := image.Topic(names[n%len(names)]); !ok {
			b.Fatal("not found")
		}
	}
}
