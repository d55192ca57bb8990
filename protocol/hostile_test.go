package protocol

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"
	"time"
)

// forger writes the body of a request by its shape, all fields of it present and small, but for one place where it
// lies: a length, a count, or a section of tagged fields.
type forger struct {
	version  int16
	flexible bool
	out      []byte
	places   int  // that a lie could be told at, so far
	target   int  // where to tell it
	lie      lie  // which
	lean     bool // all that can be empty is
	struck   bool // it was told
}

// lie is what is written at a place instead of what is true. Nil where the kind of place has no such lie.
type lie struct {
	name    string
	length  int64  // of a string, a byte string or an array; in a compact one as it is, else plus one
	tags    []byte // a section of tagged fields
	crowded int    // the count of an array, whose elements follow: as many as fit that many bytes
}

func (f *forger) here() bool {
	f.places++
	if f.places-1 != f.target {
		return false
	}
	f.struck = true
	return true
}

func (f *forger) structure(fs fields) {
	for i := range fs {
		if p := &fs[i]; !p.tagged && f.version >= p.from && f.version <= p.to {
			f.field(p)
		}
	}
	if !f.flexible {
		return
	}
	if f.here() && f.lie.tags != nil {
		f.out = append(f.out, f.lie.tags...)
		return
	}
	f.out = append(f.out, 0)
}

func (f *forger) field(p *field) {
	switch p.kind {
	case fixedKind:
		f.out = append(f.out, make([]byte, p.width)...)
	case stringKind, bytesKind:
		n := int64(1)
		if f.lean {
			n = 0
		}
		true := n
		if f.here() && f.lie.length != 0 {
			n = f.lie.length
		}
		f.length(n, p.kind == stringKind)
		f.out = append(f.out, "x"[:true]...)
	case arrayKind:
		f.array(p)
	case objectKind:
		if p.null <= f.version {
			f.out = append(f.out, 1)
		}
		f.structure(p.body)
	}
}

func (f *forger) array(p *field) {
	n := 1
	if f.lean {
		n = 0
	}
	if f.here() {
		switch {
		case f.lie.length != 0:
			f.length(f.lie.length, false)
			f.field(p.elem)
			return
		case f.lie.crowded > 0:
			one := &forger{version: f.version, flexible: f.flexible, target: -1, lean: true}
			one.field(p.elem)
			n = f.lie.crowded / len(one.out)
			f.length(int64(n), false)
			for range n {
				f.out = append(f.out, one.out...)
			}
			return
		}
	}
	f.length(int64(n), false)
	for range n {
		f.field(p.elem)
	}
}

func (f *forger) length(n int64, short bool) {
	switch {
	case f.flexible:
		f.out = binary.AppendUvarint(f.out, uint64(uint32(n+1)))
	case short:
		f.out = binary.BigEndian.AppendUint16(f.out, uint16(n))
	default:
		f.out = binary.BigEndian.AppendUint32(f.out, uint32(n))
	}
}

// forge writes a body with one lie at a place, and reports whether there is such a place.
func forge(s *shape, version int16, target int, l lie) (body []byte, there bool) {
	f := forger{version: version, flexible: s.isFlexible(version), target: target, lie: l}
	f.structure(s.body)
	return f.out, f.struck
}

// Whatever count, length or size a request of any API and version announces at any place of it, it is judged at once
// and without memory, and the decoder is not let loose on it unless it is sound.
func TestLies(t *testing.T) {
	lies := []lie{
		{name: "2^31-1", length: math.MaxInt32},
		{name: "2^31-2", length: math.MaxInt32 - 1},
		{name: "2^32-2", length: math.MaxUint32 - 1}, // one more is null
		{name: "-2", length: -2},
		{name: "2^15-1", length: math.MaxInt16},
		{name: "-2^31", length: math.MinInt32},
		{name: "one too many", length: 1 << 10},
		{name: "2^32-1 tagged fields", tags: []byte{0xff, 0xff, 0xff, 0xff, 0x0f}},
		{name: "2^31 tagged fields", tags: []byte{0x80, 0x80, 0x80, 0x80, 0x08}},
		{name: "more than 32 bits of tagged fields", tags: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
		{name: "a tagged field of 2^32-1 bytes", tags: []byte{1, 9, 0xff, 0xff, 0xff, 0xff, 0x0f}},
		{name: "a tagged field one byte too long", tags: []byte{1, 9, 0x7f, 0}},
		{name: "a known tagged field of 2^32-1 bytes", tags: []byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}},
		{name: "a tagged field without a size", tags: []byte{1, 9}},
		{name: "a tag of 2^32-1", tags: []byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0}},
	}
	told := 0
	eachVersion(t, func(t *testing.T, s *shape, version int16) {
		h := Header{Key: s.key.Int16(), Version: version}
		sound, _ := forge(s, version, -1, lie{})
		if err := Check(h.Key, version, sound); err != nil {
			t.Fatalf("without a lie: %v", err)
		}
		for _, l := range lies {
			for place := 0; ; place++ {
				body, there := forge(s, version, place, l)
				if !there {
					break
				}
				told++
				size, err := DecodedSize(h.Key, version, body)
				if err != nil {
					checkRefusal(t, err)
				}
				most := madeTimes * (size + size/4 + 2048)
				took, _ := allocated(func() error { _, err := Decode(h, body); return err }, most)
				if err == nil && took > size+size/4+2048 || err != nil && took > 8<<10 {
					t.Errorf("%s at place %d: %d bytes were allocated for a body of %d, which %v", l.name, place, took, len(body), err)
				}
			}
		}
	})
	if told < 10_000 {
		t.Errorf("only %d lies were told", told)
	}
}

// Nothing but the smallest elements in any array is refused, or decoded within the memory that was promised; both in a
// time that is of no interest. With SEGUE_LONG=1 it is a MiB of them.
func TestCrowds(t *testing.T) {
	crowd, passed := 128<<10, 0
	if os.Getenv("SEGUE_LONG") == "1" {
		crowd = 1 << 20
	}
	eachVersion(t, func(t *testing.T, s *shape, version int16) {
		if version != s.max {
			return // the arrays are the same, and it takes its time
		}
		h := Header{Key: s.key.Int16(), Version: version}
		for place := 0; ; place++ {
			body, there := forge(s, version, place, lie{crowded: crowd})
			if !there {
				break
			}
			if len(body) < crowd/2 {
				continue // no array
			}
			begun := time.Now()
			size, err := DecodedSize(h.Key, version, body)
			if err != nil && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("place %d: %v", place, err)
			}
			most := madeTimes * (size + size/4 + 2048)
			took, _ := allocated(func() error { _, err := Decode(h, body); return err }, most)
			if d := time.Since(begun); d > 3*time.Second {
				t.Errorf("place %d: after %v", place, d)
			}
			if err == nil && (size > memoryLimit(len(body)) || took > most) || err != nil && took > 8<<10 {
				t.Errorf("place %d: %d bytes were allocated, %d promised (%v)", place, took, size, err)
			}
			if err == nil {
				passed++
			}
		}
	})
	if passed == 0 {
		t.Error("nothing passed: the test tests nothing")
	}
}
