package protocol

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// How much memory a decoded request may take: freeMemory for nothing, memoryPerByte more for each byte of its
// body, and never more than maxMemory. What clients really send needs a few bytes for each byte (the worst are
// lists of very short names); a body of one-byte elements would need more than eighty.
const (
	freeMemory    = 64 << 10
	memoryPerByte = 16
	maxMemory     = 64 << 20
)

// What kmsg spends on tagged fields that it does not know: a map for each section that has some.
const (
	unknownTagsMemory = 384 // the map, with the first entry
	unknownTagMemory  = 160 // each further entry, amortized over the growth of the map
)

// memoryLimit is how much memory a body of so many bytes may take when decoded.
func memoryLimit(body int) int { return min(freeMemory+memoryPerByte*body, maxMemory) }

// RequestError says what is wrong with the body of a request.
type RequestError struct {
	Key, Version int16
	Field        string // path to the field, as in "Topics[3].Name"; may be empty
	Err          error  // wraps ErrMalformed, ErrTooLarge or ErrUnsupported
}

func (e *RequestError) Error() string {
	at := ""
	if e.Field != "" {
		at = " at " + e.Field
	}
	return fmt.Sprintf("protocol: body of %s v%d request%s: %v", kmsg.NameForKey(e.Key), e.Version, at, e.Err)
}

// Unwrap returns the cause.
func (e *RequestError) Unwrap() error { return e.Err }

// Check reports whether the body of a request is sound, so that a decoder which trusts counts and lengths may be
// let loose on it: every count and length fits what is left of the body, every section of tagged fields adds up,
// null stands only where it may, and the decoded request stays within a memory limit that grows with the body.
// Check itself takes time in proportion to the body and no memory. Bytes after the last field are tolerated, as
// Kafka does.
//
// The error is a *RequestError that wraps ErrMalformed, ErrTooLarge, or, for an API or a version that Kafka 4.4
// does not have, ErrUnsupported.
func Check(key, version int16, body []byte) error {
	_, err := measure(key, version, body)
	return err
}

// DecodedSize is Check which also returns about how many bytes of memory Decode will take: an upper bound but for
// the rounding of allocations.
func DecodedSize(key, version int16, body []byte) (int, error) {
	w, err := measure(key, version, body)
	return w.memory, err
}

func measure(key, version int16, body []byte) (walker, error) {
	w := walker{cursor: cursor{rest: body}, version: version, limit: memoryLimit(len(body))}
	shape := shapeOf(key)
	if shape == nil || version < shape.min || version > shape.max {
		return w, &RequestError{Key: key, Version: version, Err: ErrUnsupported}
	}
	w.flexible = shape.isFlexible(version)
	w.need(shape.body.memory() + wordSize) // and the version
	w.structure(shape.body)
	if w.aliased {
		w.need(len(body))
	}
	if w.err != nil {
		cause := w.err
		if !errors.Is(cause, ErrTooLarge) {
			cause = fmt.Errorf("%w: %w", ErrMalformed, cause)
		}
		return w, &RequestError{Key: key, Version: version, Field: w.path, Err: cause}
	}
	return w, nil
}

// walker walks a body by its shape, exactly as kmsg's decoder will. It recurses as deep as the shape is nested,
// which the body has no say in.
type walker struct {
	cursor
	version  int16
	flexible bool
	memory   int  // what decoding takes, so far
	limit    int  // of memory
	aliased  bool // the decoded request will refer to the bytes of the body

	path string // after a failure: where it is
}

// need accounts for memory that the decoder takes.
func (w *walker) need(bytes int) {
	w.memory += bytes
	if w.memory > w.limit && w.err == nil {
		w.fail(fmt.Errorf("%w: decoding would take over %d bytes of memory", ErrTooLarge, w.limit))
	}
}

func (w *walker) structure(fs fields) {
	for i := range fs {
		f := &fs[i]
		if f.tagged || w.version < f.from || w.version > f.to {
			continue
		}
		if f.kind == fixedKind && f.width <= len(w.rest) { // most fields are: this is for speed alone
			w.rest = w.rest[f.width:]
			continue
		}
		if w.field(f); w.err != nil {
			w.failedIn(f.name)
			return
		}
	}
	if w.flexible {
		w.tags(fs)
	}
}

// failedIn puts the name of an enclosing field before the path of the failure.
func (w *walker) failedIn(name string) {
	switch {
	case w.path == "":
		w.path = name
	case w.path[0] == '[':
		w.path = name + w.path
	default:
		w.path = name + "." + w.path
	}
}

func (w *walker) field(f *field) {
	switch f.kind {
	case fixedKind:
		w.take(f.width)
	case stringKind:
		if n := w.stringLength(w.flexible); w.present(f, n) && n > 0 {
			w.take(n)
			w.need(n + stringHeader) // with the rounding of the allocation
		}
		if f.null != never {
			w.need(stringHeader) // behind the pointer
		}
	case bytesKind:
		if n := w.length(w.flexible); w.present(f, n) && n > 0 {
			w.take(n)
			w.aliased = true
		}
	case arrayKind:
		if n := w.count(w.flexible); w.present(f, n) {
			w.array(f.elem, n)
		}
	case objectKind:
		if f.null <= w.version {
			mark := w.int8()
			if mark < -1 {
				w.fail(fmt.Errorf("%d where a structure begins: neither null nor present", mark))
			}
			if mark < 0 {
				return
			}
		}
		w.structure(f.body)
	}
}

// present returns whether a field of length n is there at all. It refuses null where the field may not be null.
func (w *walker) present(f *field, n int) bool {
	if n < 0 && w.version < f.null {
		w.fail(errNull)
	}
	return n >= 0
}

func (w *walker) array(elem *field, n int) {
	w.need(n * elem.memory) // n is at most the bytes that are left
	if elem.kind == fixedKind {
		w.take(n * elem.width)
		return
	}
	for i := 0; i < n && w.err == nil; i++ {
		if w.field(elem); w.err != nil {
			w.failedIn("[" + strconv.Itoa(i) + "]")
		}
	}
}

// tags walks the section of tagged fields at the end of a structure.
func (w *walker) tags(fs fields) {
	unknown := 0
	for n := w.tagCount(); n > 0 && w.err == nil; n-- {
		number, value := w.tagged()
		f := fs.tag(number)
		if f != nil {
			w.known(f, value)
			continue
		}
		unknown++
		w.need(unknownTagMemory)
		w.aliased = w.aliased || len(value) > 0
	}
	if unknown > 0 {
		w.need(unknownTagsMemory)
	}
	if w.err != nil && w.path == "" {
		w.path = "tagged fields"
	}
}

// known walks the value of a tagged field that must be f to its last byte.
func (w *walker) known(f *field, value []byte) {
	if w.err != nil {
		return
	}
	after := w.rest
	w.rest = value
	w.field(f)
	if left := len(w.rest); w.err == nil && left > 0 {
		w.fail(fmt.Errorf("%d bytes too many for tagged field %d", left, f.number))
	}
	if w.err != nil {
		w.failedIn(f.name)
		return
	}
	w.rest = after
}

// tag returns the tagged field of that number, nil if it is unknown.
func (fs fields) tag(number uint32) *field {
	for i := range fs {
		if fs[i].tagged && fs[i].number == number {
			return &fs[i]
		}
	}
	return nil
}
