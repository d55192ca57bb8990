package protocol

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The table against kmsg: whatever kmsg can encode, the walker passes, to the last byte.
func TestShapesMatchKmsg(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shape, version int16) {
		f := newFiller(uint64(s.key)<<8 | uint64(version))
		for round := range 40 {
			f.lean = round == 0
			request := f.request(s, version)
			if got, want := s.isFlexible(version), request.IsFlexible(); got != want {
				t.Fatalf("flexible is %v, of kmsg %v", got, want)
			}
			body := request.AppendTo(nil)
			w := walker{cursor: cursor{rest: body}, version: version, flexible: s.isFlexible(version), limit: maxMemory}
			w.structure(s.body)
			if w.err != nil {
				t.Fatalf("%s: %v\n% x", w.path, w.err, body)
			}
			if len(w.rest) != 0 {
				t.Fatalf("walked %d of %d bytes\n% x", len(body)-len(w.rest), len(body), body)
			}
		}
	})
}

// Encoding after decoding is the identity, and what is decoded does not refer to what it was decoded from.
func TestDecodeIsInverse(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shape, version int16) {
		f := newFiller(uint64(s.key)<<8 | uint64(version))
		for range 10 {
			body := f.request(s, version).AppendTo(nil)
			buffer := append(bytes.Clone(body), "junk that is tolerated"...)
			request, err := Decode(Header{Key: s.key.Int16(), Version: version}, buffer)
			if err != nil {
				t.Fatal(err)
			}
			clear(buffer)
			if again := request.AppendTo(nil); !bytes.Equal(again, body) {
				t.Fatalf("got  % x\nwant % x", again, body)
			}
		}
	})
}

// The range of versions is Kafka's, as far as kmsg goes.
func TestVersionsThatExist(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shape, version int16) {
		if top := s.key.Request().MaxVersion(); s.max != top {
			t.Fatalf("highest version is %d, of kmsg %d", s.max, top)
		}
		for _, v := range []int16{-1, s.min - 1, s.max + 1} {
			if err := Check(s.key.Int16(), v, make([]byte, 100)); !errors.Is(err, ErrUnsupported) {
				t.Fatalf("version %d: %v", v, err)
			}
		}
	})
	for _, key := range []int16{-1, 4, 5, 6, 7, 52, 1000} {
		if err := Check(key, 0, nil); !errors.Is(err, ErrUnsupported) {
			t.Errorf("key %d: %v", key, err)
		}
	}
}

// Every structure has at least one byte on the wire in every version that has it. The walk of an array relies on
// it: that is what makes the time linear.
func TestNoElementIsFree(t *testing.T) {
	var check func(t *testing.T, fs fields, version int16)
	check = func(t *testing.T, fs fields, version int16) {
		for _, f := range fs {
			if !f.tagged && (version < f.from || version > f.to) {
				continue
			}
			body := f.body
			if f.elem != nil {
				body = f.elem.body
			}
			if body != nil {
				check(t, body, version)
			}
			if f.elem == nil || body == nil {
				continue
			}
			w := walker{cursor: cursor{rest: make([]byte, 1000)}, version: version, limit: maxMemory}
			if w.structure(body); w.err != nil || len(w.rest) == 1000 {
				t.Errorf("an element of %s has no bytes (%v)", f.name, w.err)
			}
		}
	}
	eachVersion(t, func(t *testing.T, s *shape, version int16) { check(t, s.body, version) })
}

// What DecodedSize says covers what a decoded request really holds, by the sizes of kmsg's own types: for each
// array of each request alone with many small elements, where an error in the size of its element would show.
func TestMemoryOfElements(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shape, version int16) {
		root := reflect.TypeOf(s.key.Request()).Elem()
		if size := int(root.Size()); size > s.body.memory()+wordSize {
			t.Errorf("%s has %d bytes, its shape %d", root, size, s.body.memory()+wordSize)
		}
		eachArray(root, func(elem reflect.Type) {
			f := newFiller(1)
			f.many, f.lean = elem, true
			checkMemory(t, s, version, f.request(s, version))
		})
		f := newFiller(2)
		for range 5 {
			checkMemory(t, s, version, f.request(s, version))
		}
	})
}

// checkMemory decodes what kmsg encodes and holds what it has in memory against DecodedSize.
func checkMemory(t *testing.T, s *shape, version int16, request kmsg.Request) {
	t.Helper()
	body := request.AppendTo(nil)
	size, err := DecodedSize(s.key.Int16(), version, body)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := Decode(Header{Key: s.key.Int16(), Version: version}, body)
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(decoded).Elem()
	if held := int(v.Type().Size()) + heldMemory(v); held > size {
		t.Errorf("holds %d bytes, DecodedSize said %d", held, size)
	}
}

// DecodedSize covers what the runtime spends beyond the sizes of types: on the map of each section of unknown tagged
// fields, and on the copy of a body that byte strings refer to.
func TestMemoryBeyondTypes(t *testing.T) {
	tagged := kmsg.NewPtrMetadataRequest()
	tagged.Version = 9
	for range 500 {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr("a name as long as names usually are")
		topic.UnknownTags.Set(7, nil)
		tagged.Topics = append(tagged.Topics, topic)
	}
	blob := kmsg.NewPtrSASLAuthenticateRequest()
	blob.SASLAuthBytes = make([]byte, 1<<20)
	for _, request := range []kmsg.Request{tagged, blob} {
		h := Header{Key: request.Key(), Version: request.GetVersion()}
		body := request.AppendTo(nil)
		size, err := DecodedSize(h.Key, h.Version, body)
		if err != nil {
			t.Fatal(err)
		}
		enough := size + size/50 // rounding of the large allocations
		took, err := allocated(func() error { _, err := Decode(h, body); return err }, enough)
		if err != nil || took > enough {
			t.Errorf("%T: decoding took %d bytes, DecodedSize said %d (%v)", request, took, size, err)
		}
	}
}

// A body that passes the guard never makes the decoder fail, spin, or allocate past the limit, however it was
// bent. Allocation is counted, not timed: a decoder that spins fills a map.
func TestBentBodies(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shape, version int16) {
		f := newFiller(uint64(s.key)<<8 | uint64(version))
		passed := 0
		for round := range 60 {
			f.lean = round%5 == 0
			body := f.bend(f.request(s, version).AppendTo(nil))
			size, err := DecodedSize(s.key.Int16(), version, body)
			if err != nil {
				checkRefusal(t, err)
				continue
			}
			passed++
			if size > memoryLimit(len(body)) {
				t.Fatalf("size %d passed for a body of %d", size, len(body))
			}
			took, err := allocated(func() error {
				_, err := Decode(Header{Key: s.key.Int16(), Version: version}, body)
				return err
			}, size+size/4+512)
			if err != nil {
				t.Fatalf("passed the guard, not the decoder: %v\n% x", err, body)
			}
			if took > size+size/4+512 {
				t.Fatalf("decoding took %d bytes, DecodedSize said %d\n% x", took, size, body)
			}
		}
		if passed == 0 {
			t.Error("no bent body passed: the test tests nothing")
		}
	})
}

// allocated returns how many bytes do allocates. Others allocate too, now and then, so a count above enough is only
// believed when it comes back.
func allocated(do func() error, enough int) (bytes int, err error) {
	var before, after runtime.MemStats
	for range 3 {
		runtime.ReadMemStats(&before)
		err = do()
		runtime.ReadMemStats(&after)
		if bytes = int(after.TotalAlloc - before.TotalAlloc); bytes <= enough {
			break
		}
	}
	return bytes, err
}

func checkRefusal(t *testing.T, err error) {
	t.Helper()
	var refused *RequestError
	if !errors.As(err, &refused) || !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
		t.Fatalf("refused with %v", err)
	}
}

// bend changes some bytes to ones that hurt.
func (f *filler) bend(body []byte) []byte {
	nasty := []byte{0x00, 0x01, 0x02, 0x7f, 0x80, 0xff, 0x0f}
	for range f.IntN(3) {
		if len(body) == 0 {
			break
		}
		at := f.IntN(len(body))
		switch f.IntN(4) {
		case 0:
			body = body[:at]
		case 1:
			body = append(body[:at:at], append(bytes.Repeat(nasty[f.IntN(len(nasty)):][:1], f.IntN(6)), body[at:]...)...)
		default:
			body[at] = nasty[f.IntN(len(nasty))]
		}
	}
	return body
}

// What the guard says to bytes that kmsg's decoder alone would spin, allocate or stumble over.
func TestRefusals(t *testing.T) {
	const (
		metadata  = int16(kmsg.Metadata)
		fetch     = int16(kmsg.Fetch)
		describe  = int16(kmsg.DescribeTopicPartitions)
		telemetry = int16(kmsg.GetTelemetrySubscriptions)
	)
	uuid := strings.Repeat("u", 16)
	fetchHead := strings.Repeat("\x00", 25) // a Fetch request of versions 7 to 14 up to its topics
	for name, test := range map[string]struct {
		key, version int16
		body         string
		is           error
		says         string
	}{
		"count above the bytes":        {metadata, 1, "\x00\x00\x00\x02a", ErrMalformed, "Metadata v1 request at Topics: malformed: count 2 exceeds the 1 bytes"},
		"compact count above":          {metadata, 9, "\xfe\xff\xff\xff\x07", ErrMalformed, "at Topics: malformed: count 2147483645 exceeds"},
		"compact count wraps":          {metadata, 9, "\xff\xff\xff\xff\x0f", ErrMalformed, "length 4294967295 is impossible"},
		"varint of 33 bits":            {metadata, 9, "\xff\xff\xff\xff\x1f", ErrMalformed, "not an unsigned varint"},
		"null topic name":              {metadata, 9, "\x02\x00\x00\x00\x00\x00", ErrMalformed, "at Topics[0].Name: malformed: null"},
		"null topics in version 0":     {metadata, 0, "\xff\xff\xff\xff", ErrMalformed, "at Topics: malformed: null"},
		"null topics":                  {metadata, 1, "\xff\xff\xff\xff", nil, ""},
		"any negative count is null":   {metadata, 1, "\x80\x00\x00\x00", nil, ""},
		"name cut":                     {metadata, 1, "\x00\x00\x00\x02\x00\x01a\x00\x05b", ErrMalformed, "at Topics[1].Name: malformed: needs 5 bytes, 1 are left"},
		"tagged fields without end":    {telemetry, 0, uuid + "\xff\xff\xff\xff\x0f", ErrMalformed, "at tagged fields: malformed: count of tagged fields 4294967295 exceeds"},
		"tagged field too long":        {telemetry, 0, uuid + "\x01\x00\x05abcd", ErrMalformed, "tagged field 0 has 5 bytes, 4 are left"},
		"tagged field":                 {telemetry, 0, uuid + "\x01\x00\x04abcd", nil, ""},
		"known tagged field too long":  {fetch, 12, fetchHead + "\x01\x01\x01\x01\x01\x0e" + strings.Repeat("\x00", 14), ErrMalformed, "1 bytes too many for tagged field 1"},
		"known tagged field too short": {fetch, 12, fetchHead + "\x01\x01\x01\x01\x01\x0c" + strings.Repeat("\x00", 12), ErrMalformed, "at ReplicaState.tagged fields: malformed: needs an unsigned varint"},
		"known tagged field":           {fetch, 12, fetchHead + "\x01\x01\x01\x01\x01\x0d" + strings.Repeat("\x00", 13), nil, ""},
		"structure neither null":       {describe, 0, "\x01\x00\x00\x00\x01\xfe\x00", ErrMalformed, "at Cursor: malformed: -2 where a structure begins"},
		"structure null":               {describe, 0, "\x01\x00\x00\x00\x01\xff\x00", nil, ""},
		"junk after the end":           {describe, 0, "\x01\x00\x00\x00\x01\xff\x00junk", nil, ""},
		"list of numbers cut":          {fetch, 7, fetchHead + "\x00\x00\x00\x00" + "\x00\x00\x00\x01\x00\x01a\x00\x00\x00\x02\x00\x00\x00\x07", ErrMalformed, "at ForgottenTopicsData[0].Partitions: malformed: needs 8 bytes"},
		"array of tiny elements":       {metadata, 9, "\x81\x80\x40" + strings.Repeat("\x01\x00", 1<<20), ErrTooLarge, "at Topics: too large: decoding would take over"},
		"one tag in each of many":      {metadata, 9, "\xa1\x1f" + strings.Repeat("\x01\x01\x00\x00", 4000), ErrTooLarge, "too large"},
		"many empty tags":              {telemetry, 0, uuid + "\x80\x80\x01" + strings.Repeat("\x07\x00", 1<<14), ErrTooLarge, "at tagged fields: too large"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Check(test.key, test.version, []byte(test.body))
			if test.is == nil {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := Decode(Header{Key: test.key, Version: test.version}, []byte(test.body)); err != nil {
					t.Fatal(err)
				}
				return
			}
			var refused *RequestError
			if !errors.As(err, &refused) || !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want it to say %q", err, test.says)
			}
			if _, again := Decode(Header{Key: test.key, Version: test.version}, []byte(test.body)); again.Error() != err.Error() {
				t.Errorf("Decode says %v", again)
			}
		})
	}
}

// Requests as large as real clients send must not come near the limit.
func TestHonestRequestsPass(t *testing.T) {
	fetch := kmsg.NewPtrFetchRequest()
	fetch.Version = 12
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Version = 9
	groups := kmsg.NewPtrDescribeGroupsRequest()
	groups.Version = 5
	for i := range 10_000 {
		name := "t" + strconv.Itoa(i)
		fetch.Topics = append(fetch.Topics, kmsg.FetchRequestTopic{Topic: name, Partitions: make([]kmsg.FetchRequestTopicPartition, 10)})
		metadata.Topics = append(metadata.Topics, kmsg.MetadataRequestTopic{Topic: &name})
		groups.Groups = append(groups.Groups, name)
	}
	for _, request := range []kmsg.Request{fetch, metadata, groups} {
		body := request.AppendTo(nil)
		size, err := DecodedSize(request.Key(), request.GetVersion(), body)
		if err != nil || size > memoryLimit(len(body))*4/5 {
			t.Errorf("%T: %d of %d bytes, %v", request, size, memoryLimit(len(body)), err)
		}
	}
}

func TestCheckDoesNotAllocate(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shape, version int16) {
		body := newFiller(3).request(s, version).AppendTo(nil)
		if n := testing.AllocsPerRun(5, func() { _ = Check(s.key.Int16(), version, body) }); n > 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func BenchmarkCheckFetch(b *testing.B) {
	fetch := kmsg.NewPtrFetchRequest()
	fetch.Version = 13
	fetch.Topics = []kmsg.FetchRequestTopic{{Partitions: make([]kmsg.FetchRequestTopicPartition, 100)}}
	body := fetch.AppendTo(nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := Check(1, 13, body); err != nil {
			b.Fatal(err)
		}
	}
}
