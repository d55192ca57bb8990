package handler

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/server"
	"segue/protocol"
)

// crowd fills requests: of one type of element there are many, of the others as few as it takes to have them.
type crowd struct {
	many  reflect.Type
	text  string // that names end with, and what other bytes there are
	names int    // that were given, each of which is another
}

const crowdSize = 300

func (c *crowd) fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		c.names++
		v.SetString(fmt.Sprintf("t%d", c.names) + c.text)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		c.fill(v.Elem())
	case reflect.Struct:
		if _, tags := v.Addr().Interface().(*kmsg.Tags); tags {
			return
		}
		for i := range v.NumField() {
			c.fill(v.Field(i))
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		elem := v.Type().Elem()
		n := 1
		switch {
		case elem.Kind() == reflect.Uint8:
			v.SetBytes([]byte(c.text))
			return
		case elem == c.many:
			n = crowdSize
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			c.fill(v.Index(i))
		}
	}
}

// elements returns the types of all elements of arrays in a request.
func elements(t reflect.Type) (all []reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer:
		return elements(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			all = append(all, elements(t.Field(i).Type)...)
		}
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 {
			all = append(elements(t.Elem()), t.Elem())
		}
	}
	return all
}

// What a request takes from its decoding to its answer, by what it allocates, stays within what its row says that it
// costs: many elements in each array of each version in turn, and some requests whose answers are larger than they are.
func TestCosts(t *testing.T) {
	s := newStage(t, "num.partitions", "1")
	for i := range 100 {
		s.create(fmt.Sprintf("topic-with-a-name-%d", i), 3)
	}
	s.create("wide", 500)
	all := kmsg.NewPtrMetadataRequest()
	all.Topics = nil
	wide := kmsg.NewPtrMetadataRequest()
	wide.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr("wide")}}
	broker, topics := kmsg.NewPtrDescribeConfigsRequest(), kmsg.NewPtrDescribeConfigsRequest()
	for _, r := range []*kmsg.DescribeConfigsRequest{broker, topics} {
		r.IncludeSynonyms, r.IncludeDocumentation = true, true
		for i := range 100 {
			resource := kmsg.NewDescribeConfigsRequestResource()
			resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeBroker, "7"
			if r == topics {
				resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, fmt.Sprintf("topic-with-a-name-%d", i)
			}
			r.Resources = append(r.Resources, resource)
		}
	}
	create := kmsg.NewPtrCreateTopicsRequest()
	create.ValidateOnly = true
	for i := range 100 {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = fmt.Sprintf("new-%d", i), 1, 1
		create.Topics = append(create.Topics, topic)
	}
	altering, growing := kmsg.NewPtrIncrementalAlterConfigsRequest(), kmsg.NewPtrCreatePartitionsRequest()
	altering.ValidateOnly, growing.ValidateOnly = true, true
	for i := range 100 {
		name := fmt.Sprintf("topic-with-a-name-%d", i)
		altering.Resources = append(altering.Resources, alterResource(ofTopic, name, change(opSet, "retention.ms", "5"), change(opAppend, "cleanup.policy", "compact")))
		growing.Topics = append(growing.Topics, growTopic(name, 9))
	}
	altering.Resources = append(altering.Resources, alterResource(ofBroker, "7", change(opSet, "log.retention.ms", "5")),
		alterResource(ofBroker, "", change(opSet, "log.retention.ms", "5")))
	resources := kmsg.NewPtrListConfigResourcesRequest()
	for _, m := range []kmsg.Request{all, wide, broker, topics, create, altering, growing, resources, kmsg.NewPtrDescribeLogDirsRequest()} {
		s.checkCost(fmt.Sprintf("%T", m), m, s.rows[m.Key()].Max)
	}
	for _, key := range sortedKeys(s.rows) {
		for _, many := range elements(reflect.TypeOf(kmsg.RequestForKey(key))) {
			for version := s.rows[key].Min; version <= s.rows[key].Max; version++ {
				m := kmsg.RequestForKey(key)
				(&crowd{many: many}).fill(reflect.ValueOf(m).Elem())
				switch m := m.(type) {
				case *kmsg.MetadataRequest:
					m.AllowAutoTopicCreation = false
					if version < autoCreateVersion {
						continue // it would create them
					}
				case *kmsg.CreateTopicsRequest:
					if version < 1 {
						continue // it would create them
					}
				}
				s.checkCost(fmt.Sprintf("many %v", many), m, version)
			}
		}
	}
}

// checkCost has a request answered and compares what that allocates with the row's cost.
func (s *stage) checkCost(what string, m kmsg.Request, version int16) {
	s.Helper()
	m.SetVersion(version)
	client := "c"
	h := protocol.Header{Key: m.Key(), Version: version, ClientID: &client}
	body := m.AppendTo(nil)
	row := s.rows[m.Key()]
	// Others allocate now and then, and things grow when they are used for the first time.
	took, cost := 1<<62, 0
	for range 3 {
		r := &server.Request{Header: h, Client: s.client}
		if row.Begin != nil {
			r.Body = body
			cost = row.Cost(r, 0)
		} else {
			measured, err := protocol.Measure(h, body)
			if err != nil {
				return // the guard does not let it pass
			}
			if r.Message, err = measured.Decode(); err != nil {
				s.Fatal(err)
			}
			cost = server.HandlingFactor * measured.Size
			if row.Cost != nil {
				cost = row.Cost(r, measured.Size)
			}
		}
		took = min(took, allocated(func() { s.drop(r) }))
	}
	// What is allocated is not all there at one time. To see whether topics could be created each is tried on an image.
	limit := cost + cost/2 + 16<<10
	if create, ok := m.(*kmsg.CreateTopicsRequest); ok {
		limit += len(create.Topics) * 32 << 10
	}
	if took > limit {
		s.Errorf("%s v%d: %s: %d bytes were allocated, the cost is %d", kmsg.NameForKey(m.Key()), version, what, took, cost)
	}
}

// drop has a request answered and encodes the answer.
func (s *stage) drop(r *server.Request) {
	s.Helper()
	row := s.rows[r.Key]
	var answer server.Response
	var err error
	if row.Begin != nil {
		if pending := s.begin(r); pending != nil {
			answer, err = pending.Answer(s.Context())
		}
	} else {
		answer, err = row.Handle(s.Context(), r)
	}
	if err != nil || answer == nil {
		return
	}
	defer answer.Release()
	if _, _, err := answer.Parts(r.Header); err != nil {
		s.Fatal(err)
	}
}

func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// What answers of groups are said to take until they are sent covers their bytes twice, as a growing buffer does.
func TestSizes(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, resp := range []kmsg.Response{
		new(kmsg.JoinGroupResponse), new(kmsg.DescribeGroupsResponse), new(kmsg.ListGroupsResponse), new(kmsg.OffsetFetchResponse),
	} {
		kind := reflect.TypeOf(resp).Elem()
		for _, many := range elements(kind) {
			for version := int16(0); version <= resp.MaxVersion(); version++ {
				for _, text := range []string{"", long} {
					m := reflect.New(kind).Interface().(kmsg.Response)
					(&crowd{many: many, text: text}).fill(reflect.ValueOf(m).Elem())
					m.SetVersion(version)
					size := 0
					switch m := m.(type) {
					case *kmsg.JoinGroupResponse:
						size = joinGroupSize(m)
					case *kmsg.DescribeGroupsResponse:
						size = describeGroupsSize(m)
					case *kmsg.ListGroupsResponse:
						size = listGroupsSize(m)
					case *kmsg.OffsetFetchResponse:
						size = offsetFetchSize(m)
					}
					// A few strings that stand alone do not matter.
					if frame := protocol.AppendResponse(nil, protocol.Header{}, m); 2*len(frame) > size+20*len(long) {
						t.Errorf("%T v%d, many %v: %d bytes are said to take %d", m, version, many, len(frame), size)
					}
				}
			}
		}
	}
}
