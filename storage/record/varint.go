package record

import "encoding/binary"

// Numbers within a record are zigzag varints of 32 or 64 bits. The readers here take a position in b and return the
// position after what they read, or -1 where b ends too early or the number does not fit; a position of -1 going in
// comes out again, so that a run of reads is checked once, at its end.

// maxVarint32 is the most bytes that a 32-bit varint takes.
const maxVarint32 = binary.MaxVarintLen32

func readVarint(b []byte, i int) (int32, int) {
	// Most take one byte, and most lengths that do not take two.
	if uint(i) < uint(len(b)) {
		c := int32(b[i])
		if c < 0x80 {
			return c>>1 ^ -(c & 1), i + 1
		}
		if i+1 < len(b) && b[i+1] < 0x80 {
			c = c&0x7f | int32(b[i+1])<<7
			return c>>1 ^ -(c & 1), i + 2
		}
	}
	u, i := readLongVarint(b, i, 32)
	return int32(u>>1) ^ -int32(u&1), i
}

func readVarint64(b []byte, i int) (int64, int) {
	u, i := readLongVarint(b, i, 64)
	return int64(u>>1) ^ -int64(u&1), i
}

// readLongVarint reads a varint of any length, still zigzag, whose value has at most the given number of bits.
func readLongVarint(b []byte, i int, bits uint) (uint64, int) {
	if uint(i) >= uint(len(b)) {
		return 0, -1
	}
	var u uint64
	shift := uint(0)
	for _, c := range b[i:] {
		i++
		if c < 0x80 {
			if left := bits - shift; left < 7 && c>>left != 0 {
				return 0, -1
			}
			return u | uint64(c)<<shift, i
		}
		u |= uint64(c&0x7f) << shift
		if shift += 7; shift >= bits {
			return 0, -1
		}
	}
	return 0, -1
}

// readBytes reads n bytes, where a negative n stands for null.
func readBytes(b []byte, i int, n int32) ([]byte, int) {
	if n < 0 {
		return nil, i
	}
	if i < 0 || int(n) > len(b)-i {
		return nil, -1
	}
	end := i + int(n)
	return b[i:end:end], end
}

// readLengthAndBytes reads what appendBytes appends.
func readLengthAndBytes(b []byte, i int) ([]byte, int) {
	n, i := readVarint(b, i)
	return readBytes(b, i, n)
}

// skipBytes is readBytes without a result.
func skipBytes(b []byte, i int, n int32) int {
	if n < 0 {
		return i
	}
	if i < 0 || int(n) > len(b)-i {
		return -1
	}
	return i + int(n)
}

// appendBytes appends a varint length and the bytes, -1 alone for nil.
func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

// sizeOfVarint is how many bytes a varint of v takes.
func sizeOfVarint(v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	n := 1
	for ; u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

// sizeOfBytes is how many bytes appendBytes appends.
func sizeOfBytes(b []byte) int {
	if b == nil {
		return 1
	}
	return sizeOfVarint(int64(len(b))) + len(b)
}
