package coordinator

import "math"

// ShardOf returns which of so many shards has a key (a group id, a transactional id). It is Kafka's choice
// (Utils.abs(key.hashCode()) % partitions), so that a data directory of Kafka's can be taken over.
func ShardOf(key string, shards int32) int32 {
	h := javaHash(key)
	switch {
	case h == math.MinInt32:
		h = 0 // as Utils.abs has it, which has no positive number for it either
	case h < 0:
		h = -h
	}
	return h % shards
}

// javaHash is Java's String.hashCode: a polynomial over the UTF-16 code units.
func javaHash(s string) (h int32) {
	const surrogates, high, low = 0x10000, 0xd800, 0xdc00
	for _, r := range s {
		if r >= surrogates {
			r -= surrogates
			h = 31*h + high + r>>10
			r = low + r&0x3ff
		}
		h = 31*h + r
	}
	return h
}
