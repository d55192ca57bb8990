package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

var (
	errUvarint    = errors.New("not an unsigned varint of at most 32 bits")
	errCutUvarint = errors.New("needs an unsigned varint, the bytes end before it does")
	errNull       = errors.New("null where the protocol allows none")
)

// cursor reads a request front to back. Its first failure sticks: from then on every read returns a zero
// value, nothing is left to read and err says why, so that callers may check once for a group of reads.
type cursor struct {
	rest []byte
	err  error
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.rest = nil
}

// take returns the next n bytes as a slice of what is read, with no spare capacity.
func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.rest) {
		if c.err == nil {
			c.fail(fmt.Errorf("needs %d bytes, %d are left", n, len(c.rest)))
		}
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cursor) int8() int8 {
	if b := c.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (c *cursor) int16() int16 {
	if b := c.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (c *cursor) int32() int32 {
	if b := c.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// uvarint reads an unsigned varint of at most 32 bits in at most five bytes.
func (c *cursor) uvarint() uint32 {
	var x uint32
	for i, b := range c.rest {
		if i == 4 && b > 0x0f {
			c.fail(errUvarint)
			return 0
		}
		x |= uint32(b&0x7f) << (7 * i)
		if b < 0x80 {
			c.rest = c.rest[i+1:]
			return x
		}
	}
	c.fail(errCutUvarint)
	return 0
}

// compactLength reads a length that is sent as an unsigned varint of itself plus one (KIP-482); -1 is null.
func (c *cursor) compactLength() int {
	u := c.uvarint()
	if u > math.MaxInt32 {
		c.fail(fmt.Errorf("length %d is impossible", u))
		return 0
	}
	return int(u) - 1
}

// stringLength reads the length of a string; -1 is null.
func (c *cursor) stringLength(flexible bool) int {
	if flexible {
		return c.compactLength()
	}
	return max(int(c.int16()), -1)
}

// length reads the length of a byte string or the count of an array; -1 is null.
func (c *cursor) length(flexible bool) int {
	if flexible {
		return c.compactLength()
	}
	return max(int(c.int32()), -1)
}

// count reads how many elements an array has; -1 is null. An element has at least one byte, so a count
// above what is left is a lie and is refused before anyone loops over it.
func (c *cursor) count(flexible bool) int {
	n := c.length(flexible)
	if n > len(c.rest) {
		c.fail(fmt.Errorf("count %d exceeds the %d bytes that are left", n, len(c.rest)))
		return 0
	}
	return n
}

// tagCount reads how many tagged fields follow. Each has at least a tag and a size of one byte.
func (c *cursor) tagCount() int {
	n := c.uvarint()
	if int64(n) > int64(len(c.rest)/2) {
		c.fail(fmt.Errorf("count of tagged fields %d exceeds what the %d bytes that are left can hold", n, len(c.rest)))
		return 0
	}
	return int(n)
}

// tagged reads the head of one tagged field and takes its value.
func (c *cursor) tagged() (tag uint32, value []byte) {
	tag = c.uvarint()
	size := c.uvarint()
	if int64(size) > int64(len(c.rest)) {
		c.fail(fmt.Errorf("tagged field %d has %d bytes, %d are left", tag, size, len(c.rest)))
		return 0, nil
	}
	return tag, c.take(int(size))
}

// skipTags skips a section of tagged fields of which none is known.
func (c *cursor) skipTags() {
	for n := c.tagCount(); n > 0 && c.err == nil; n-- {
		c.tagged()
	}
}
