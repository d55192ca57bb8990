package protocol

import (
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A shape is the layout of one API's request bodies, for all its versions that are supported. The shapes are
// written from the message definitions of Kafka 4.4 (clients/src/main/resources/common/message) and carry their
// field names; those of versions that Kafka 4.0 removed and that are served here are from 3.9. The tests hold them
// against kmsg. They exist for the guard alone (see Check).
type shape struct {
	key      kmsg.Key
	min, max int16 // the versions that exist
	flexible int16 // the first version with compact lengths and tagged fields (KIP-482), or never
	body     fields
}

const never int16 = math.MaxInt16

func (s *shape) name() string { return s.key.Name() }

func (s *shape) isFlexible(version int16) bool { return version >= s.flexible }

// requests has the shape of every API that a client may call, by key.
var requests = byKey(dataRequests, groupRequests, transactionRequests, adminRequests, shareRequests, streamsRequests)

func byKey(families ...[]shape) (all [kmsg.MaxKey + 1]*shape) {
	for _, family := range families {
		for i := range family {
			all[family[i].key] = &family[i]
		}
	}
	return all
}

// shapeOf returns nil if the API is unknown.
func shapeOf(key int16) *shape {
	if key < 0 || int(key) >= len(requests) {
		return nil
	}
	return requests[key]
}

// kind is what a field is on the wire.
type kind uint8

const (
	fixedKind  kind = iota // a number, a boolean, a uuid: width bytes
	stringKind             //
	bytesKind              // a byte string; kmsg hands out slices of its input for these
	arrayKind              // of elem
	objectKind             // elem's fields in place; a nullable one has a byte -1 (null) or 1 before it
)

// fields are the fields of one structure in the order of the wire.
type fields []field

// field is one field of a structure. The functions below make fields and are meant to be read aloud:
//
//	structs("Topics",
//		str("Name").until(9),
//		uuid("TopicId").since(10),
//		list("Partitions", i32).nullable(),
//	)
type field struct {
	name     string
	kind     kind
	width    int    // fixedKind: bytes on the wire
	elem     *field // arrayKind: its element, whose kind is not arrayKind
	body     fields // objectKind
	from, to int16  // the versions that have the field
	null     int16  // the first version in which it may be null, or never
	tagged   bool   // it is a tagged field, of number number
	number   uint32

	// memory is how many bytes the field takes in the structure that kmsg decodes into: an upper bound, for
	// all versions alike, since kmsg has one type for all of them.
	memory int
}

const (
	stringHeader = 16 // a string, or a pointer to one, in memory
	sliceHeader  = 24
	wordSize     = 8
)

func newField(name string, k kind, memory int) field {
	return field{name: name, kind: k, to: math.MaxInt16, null: never, memory: memory}
}

func fixed(name string, width int) field {
	f := newField(name, fixedKind, max(width, wordSize)) // rounded up for alignment
	f.width = width
	return f
}

func boolean(name string) field { return fixed(name, 1) }
func i8(name string) field      { return fixed(name, 1) }
func i16(name string) field     { return fixed(name, 2) }
func u16(name string) field     { return fixed(name, 2) }
func i32(name string) field     { return fixed(name, 4) }
func i64(name string) field     { return fixed(name, 8) }
func f64(name string) field     { return fixed(name, 8) }
func uuid(name string) field    { return fixed(name, 16) }
func str(name string) field     { return newField(name, stringKind, stringHeader) }
func blob(name string) field    { return newField(name, bytesKind, sliceHeader) }

// list is an array of what is not a structure.
func list(name string, elem func(string) field) field {
	f := newField(name, arrayKind, sliceHeader)
	e := elem("")
	if e.kind == fixedKind {
		e.memory = e.width // packed
	}
	f.elem = &e
	return f
}

// structs is an array of structures.
func structs(name string, body ...field) field {
	f := newField(name, arrayKind, sliceHeader)
	e := object("", body...)
	f.elem = &e
	return f
}

// object is a structure.
func object(name string, body ...field) field {
	f := newField(name, objectKind, fields(body).memory())
	f.body = body
	return f
}

// memory is how many bytes kmsg's type for the structure takes, without what its fields point to.
func (fs fields) memory() int {
	n := wordSize // the map of unknown tagged fields
	for i := range fs {
		n += fs[i].memory
	}
	return n
}

func (f field) since(version int16) field       { f.from = version; return f }
func (f field) until(version int16) field       { f.to = version; return f }
func (f field) between(first, last int16) field { f.from, f.to = first, last; return f }
func (f field) nullable() field                 { return f.nullableSince(0) }

func (f field) nullableSince(version int16) field {
	f.null = version
	if f.kind == objectKind {
		f.memory += wordSize // kmsg keeps a pointer
	}
	return f
}

// tag makes it a tagged field. It needs no since: kmsg decodes a tag that it knows in any flexible version, and so
// the guard must take it for what kmsg will.
func (f field) tag(number uint32) field { f.tagged, f.number = true, number; return f }
