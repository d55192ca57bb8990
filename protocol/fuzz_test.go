package protocol

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzFrame takes a whole frame the way a server does. Seeds are what real clients sent.
func FuzzFrame(f *testing.F) {
	for _, g := range readGolden(f) {
		f.Add(g.frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, body, err := ParseHeader(frame)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.HasSuffix(frame, body) {
			t.Fatalf("the body is no part of the frame")
		}
		checkAnyBody(t, h, body)
	})
}

// FuzzDecode takes a body of any API and version.
func FuzzDecode(f *testing.F) {
	for _, s := range requests {
		if s == nil {
			continue
		}
		for version := s.min; version <= s.max; version++ {
			fill := newFiller(1)
			f.Add(s.key.Int16(), version, fill.request(s, version).AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		checkAnyBody(t, Header{Key: key, Version: version}, body)
	})
}

// checkAnyBody holds Check, Decode and kmsg to what they promise each other.
func checkAnyBody(t *testing.T, h Header, body []byte) {
	t.Helper()
	size, err := DecodedSize(h.Key, h.Version, body)
	request, decodeErr := Decode(h, body)
	if (err == nil) != (decodeErr == nil) {
		t.Fatalf("Check says %v, Decode %v", err, decodeErr)
	}
	if err != nil {
		var refused *RequestError
		if !errors.As(err, &refused) {
			t.Fatal(err)
		}
		return
	}
	v := reflect.ValueOf(request).Elem()
	if held := int(v.Type().Size()) + heldMemory(v); held > size || size > memoryLimit(len(body)) {
		t.Fatalf("holds %d bytes, DecodedSize said %d, the limit is %d", held, size, memoryLimit(len(body)))
	}
	once := request.AppendTo(nil)
	again, err := Decode(h, once)
	if errors.Is(err, ErrTooLarge) {
		return // what came after the end of body had raised the limit
	}
	if err != nil {
		t.Fatalf("what was decoded and encoded is refused: %v", err)
	}
	if twice := again.AppendTo(nil); !bytes.Equal(once, twice) {
		t.Fatalf("once  % x\ntwice % x", once, twice)
	}
}

// FuzzProduce holds the view of a Produce request against kmsg's decoder and against Check.
func FuzzProduce(f *testing.F) {
	for version := int16(minProduce); version <= maxProduce; version++ {
		f.Add(version, produce(version, 2, 2, []byte("batch")))
	}
	f.Add(int16(9), []byte("\x00\x00\x01\x00\x00\x00\x01\x02\x02a\x02\x00\x00\x00\x00\xff\xff\xff\xff\x0f\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		view, err := ParseProduce(version, body)
		checked := Check(int16(kmsg.Produce), version, body)
		if errors.Is(err, ErrTooLarge) || errors.Is(checked, ErrTooLarge) {
			return // the limits count different things
		}
		if (err == nil) != (checked == nil) {
			t.Fatalf("ParseProduce says %v, Check %v", err, checked)
		}
		if err != nil {
			return
		}
		decoded := kmsg.NewPtrProduceRequest()
		decoded.Version = version
		if err := decoded.ReadFrom(body); err != nil {
			t.Fatal(err)
		}
		dropTags(decoded)
		if got, want := viewed(version, &view).AppendTo(nil), decoded.AppendTo(nil); !bytes.Equal(got, want) {
			t.Fatalf("got  % x\nwant % x", got, want)
		}
	})
}
