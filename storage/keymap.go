package storage

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"unsafe"

	"segue/storage/record"
)

// keyMap remembers at which offset each key was seen last, as compaction asks (Kafka's SkimpyOffsetMap). It keeps a hash
// of each key in its place: 24 bytes an entry, whatever the key. The hash has 128 bits and a key of its own, drawn at
// random for each map (SipHash-2-4 with the longer output): two keys with one hash would cost the older one its value, so
// that must neither happen by chance nor be something that who writes the log can bring about. Kafka's, MD5 without a
// secret, lets anybody make such keys; hash/maphash has 64 bits and promises nothing against those who try; the
// cryptographic hashes of the standard library take several times as long for keys of the usual size.
//
// Its memory grows with the keys that it holds and never goes above the bound that it was made with, also while it
// grows. It is not safe for concurrent use.
type keyMap struct {
	k0, k1 uint64
	parts  []keyPart // by the hash; each grows by itself, so that growing takes little memory on top
	most   int       // entries that a part may have room for
	n      int
	bytes  int64
}

// keyPart is an open table with linear probing. Places are in the order of hashes, so that growing it goes over memory
// from the beginning to the end.
type keyPart struct {
	entries []keyEntry
	n       int
}

// keyEntry is a key's hash and 1 more than its offset; 0 there is an entry that is not taken.
type keyEntry struct {
	high, low uint64
	next      record.Offset
}

const (
	keyEntrySize = int64(unsafe.Sizeof(keyEntry{}))
	// keyParts is how many parts a map has that has room for keyPartsFrom entries.
	keyParts, keyPartsFrom = 64, 64 << 10
	// keyPartLeast is the room that a part begins with, in entries.
	keyPartLeast = 16
)

// newKeyMap returns a map that takes no more than so many bytes, at least one entry, and none before the first Put.
func newKeyMap(bytes int64) *keyMap {
	var key [16]byte
	rand.Read(key[:]) // it does not fail
	return newKeyMapWith(bytes, binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:]))
}

// newKeyMapWith is newKeyMap with the key of the hash.
func newKeyMapWith(bytes int64, k0, k1 uint64) *keyMap {
	room := max(bytes/keyEntrySize, 1)
	if room < keyPartsFrom {
		return &keyMap{k0: k0, k1: k1, parts: make([]keyPart, 1), most: int(room)}
	}
	// A part that grows is there twice for a while.
	return &keyMap{k0: k0, k1: k1, parts: make([]keyPart, keyParts), most: int(min(room/(keyParts+1), 1<<40))}
}

// Put notes that the key was seen at the offset; the highest offset of a key counts. It returns false, and notes nothing,
// if the key is new and there is no room for it. It costs memory for the first time after newKeyMap or Reset.
func (m *keyMap) Put(key []byte, offset record.Offset) bool {
	high, low := sipHash128(m.k0, m.k1, key)
	p, rest := m.part(high)
	if e := p.find(rest, high, low); e != nil && e.next != 0 {
		e.next = max(e.next, offset+1)
		return true
	}
	if p.n >= p.limit(m.most) && !m.grow(p) {
		return false
	}
	*p.find(rest, high, low) = keyEntry{high, low, offset + 1}
	p.n++
	m.n++
	return true
}

// Latest returns the highest offset at which the key was seen, if it was.
func (m *keyMap) Latest(key []byte) (record.Offset, bool) {
	high, low := sipHash128(m.k0, m.k1, key)
	p, rest := m.part(high)
	if e := p.find(rest, high, low); e != nil && e.next != 0 {
		return e.next - 1, true
	}
	return 0, false
}

// Len is the number of keys.
func (m *keyMap) Len() int { return m.n }

// Bytes is the memory that the entries take as it stands.
func (m *keyMap) Bytes() int64 { return m.bytes }

// Reset forgets all keys and gives the memory back.
func (m *keyMap) Reset() {
	clear(m.parts)
	m.n, m.bytes = 0, 0
}

// part returns the part that a hash belongs to and the rest of the hash, which says where in it.
func (m *keyMap) part(high uint64) (*keyPart, uint64) {
	i, rest := bits.Mul64(high, uint64(len(m.parts)))
	return &m.parts[i], rest
}

// grow makes room for more entries in p, unless there may be no more.
func (m *keyMap) grow(p *keyPart) bool {
	room := min(max(2*len(p.entries), keyPartLeast), m.most)
	if len(m.parts) == 1 {
		room = m.most // it is small, and growing would take it twice
	}
	if room <= len(p.entries) {
		return false
	}
	old := p.entries
	p.entries = make([]keyEntry, room)
	m.bytes += keyEntrySize * int64(room-len(old))
	for i := range old {
		if e := &old[i]; e.next != 0 {
			_, rest := m.part(e.high)
			*p.find(rest, e.high, e.low) = *e
		}
	}
	return true
}

// limit is how many keys p takes before it grows, where most is the room that it may have. Kafka fills its map to nine
// tenths; the room that is left is what probing lives on.
func (p *keyPart) limit(most int) int {
	if len(p.entries) >= most {
		return max(most-most/10, 1)
	}
	return len(p.entries) - len(p.entries)/4
}

// find returns the entry of a hash, or else the one to put it in; nil if there is neither.
func (p *keyPart) find(rest, high, low uint64) *keyEntry {
	n := len(p.entries)
	place, _ := bits.Mul64(rest, uint64(n))
	i := int(place)
	for range n {
		e := &p.entries[i]
		if e.next == 0 || e.high == high && e.low == low {
			return e
		}
		if i++; i == n {
			i = 0
		}
	}
	return nil
}
