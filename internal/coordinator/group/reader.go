package group

import "encoding/binary"

// reader reads Kafka's encoding off a slice. Counts and lengths are checked against what is left before anything is
// made of them (kmsg's own decoders believe the counts). After the first thing that does not fit, bad is set and all
// else reads as zero.
type reader struct {
	left     []byte
	flexible bool // strings, byte slices and arrays are compact
	count    int  // of the array that arrayLen began
	bad      bool
}

func (r *reader) span(n int) []byte {
	if n < 0 || n > len(r.left) {
		r.bad, r.left = true, nil
		return nil
	}
	b := r.left[:n:n]
	r.left = r.left[n:]
	return b
}

func (r *reader) int16() int16 {
	if b := r.span(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) int32() int32 {
	if b := r.span(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) int64() int64 {
	if b := r.span(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *reader) uvarint() int {
	v, n := binary.Uvarint(r.left)
	if n <= 0 || v > 1<<31-1 {
		r.bad, r.left = true, nil
		return 0
	}
	r.left = r.left[n:]
	return int(v)
}

// string reads a string that cannot be null.
func (r *reader) string() string {
	s := r.nullableString()
	if s == nil {
		r.bad = true
		return ""
	}
	return *s
}

func (r *reader) nullableString() *string {
	n := 0
	if r.flexible {
		n = r.uvarint() - 1
	} else {
		n = int(r.int16())
	}
	if n < 0 || r.bad {
		return nil
	}
	s := string(r.span(n))
	return &s
}

// nullableBytes reads bytes, which may be null, and shares them.
func (r *reader) nullableBytes() []byte {
	n := 0
	if r.flexible {
		n = r.uvarint() - 1
	} else {
		n = int(r.int32())
	}
	if n < 0 || r.bad {
		return nil
	}
	return r.span(n)
}

// arrayLen begins an array, each of whose elements takes at least so many bytes.
func (r *reader) arrayLen(least int) int {
	if r.flexible {
		r.count = r.uvarint() - 1
	} else {
		r.count = int(r.int32())
	}
	if r.count < 0 || r.count > len(r.left)/least {
		r.bad, r.left, r.count = true, nil, 0
	}
	return r.count
}

// tags reads tagged fields; each is handed its bytes.
func (r *reader) tags(each func(tag int, b []byte)) {
	if !r.flexible {
		return
	}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		tag := r.uvarint()
		b := r.span(r.uvarint())
		if !r.bad {
			each(tag, b)
		}
	}
}
