package coordinator

import "encoding/binary"

// Reader reads Kafka's encoding off a slice. Counts and lengths are checked against what is left before anything is
// made of them (kmsg's own decoders believe the counts). After the first thing that does not fit, Bad is set and all
// else reads as zero.
type Reader struct {
	Left     []byte
	Flexible bool // strings, byte slices and arrays are compact
	Count    int  // of the array that ArrayLen began
	Bad      bool
}

func (r *Reader) span(n int) []byte {
	if n < 0 || n > len(r.Left) {
		r.Bad, r.Left = true, nil
		return nil
	}
	b := r.Left[:n:n]
	r.Left = r.Left[n:]
	return b
}

// Int8 reads a number.
func (r *Reader) Int8() int8 {
	if b := r.span(1); b != nil {
		return int8(b[0])
	}
	return 0
}

// Int16 reads a number.
func (r *Reader) Int16() int16 {
	if b := r.span(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

// Int32 reads a number.
func (r *Reader) Int32() int32 {
	if b := r.span(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// Int64 reads a number.
func (r *Reader) Int64() int64 {
	if b := r.span(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *Reader) uvarint() int {
	v, n := binary.Uvarint(r.Left)
	if n <= 0 || v > 1<<31-1 {
		r.Bad, r.Left = true, nil
		return 0
	}
	r.Left = r.Left[n:]
	return int(v)
}

// String reads a string that cannot be null.
func (r *Reader) String() string {
	s := r.NullableString()
	if s == nil {
		r.Bad = true
		return ""
	}
	return *s
}

// NullableString reads a string; nil is null.
func (r *Reader) NullableString() *string {
	n := 0
	if r.Flexible {
		n = r.uvarint() - 1
	} else {
		n = int(r.Int16())
	}
	if n < 0 || r.Bad {
		return nil
	}
	s := string(r.span(n))
	return &s
}

// NullableBytes reads bytes, which may be null, and shares them.
func (r *Reader) NullableBytes() []byte {
	n := 0
	if r.Flexible {
		n = r.uvarint() - 1
	} else {
		n = int(r.Int32())
	}
	if n < 0 || r.Bad {
		return nil
	}
	return r.span(n)
}

// ArrayLen begins an array that cannot be null, each of whose elements takes at least so many bytes.
func (r *Reader) ArrayLen(least int) int {
	n := r.count()
	if n < 0 || n > len(r.Left)/least {
		r.Bad, r.Left, n = true, nil, 0
	}
	r.Count = n
	return n
}

// NullableArrayLen is ArrayLen for an array that may be null, which is read like an empty one.
func (r *Reader) NullableArrayLen(least int) int {
	peek := *r
	if peek.count() == -1 {
		r.Left, r.Bad, r.Count = peek.Left, peek.Bad, 0
		return 0
	}
	return r.ArrayLen(least)
}

// count reads the length of an array; -1 is null.
func (r *Reader) count() int {
	if r.Flexible {
		return r.uvarint() - 1
	}
	return int(r.Int32())
}

// Tags reads tagged fields; each is handed its bytes.
func (r *Reader) Tags(each func(tag int, b []byte)) {
	if !r.Flexible {
		return
	}
	for n := r.uvarint(); n > 0 && !r.Bad; n-- {
		tag := r.uvarint()
		b := r.span(r.uvarint())
		if !r.Bad {
			each(tag, b)
		}
	}
}
