package catalog

import (
	"hash/maphash"
	"iter"
	"maps"
)

// shardCount is how many parts a map of shards has. Changing one key copies the list of the parts and the part of
// that key: with 256 parts and 10,000 keys that is two kilobytes and 40 entries, some microseconds, where a plain map
// would be copied whole.
const shardCount = 256

// shards is an immutable map. The zero value is an empty one. Copies share everything.
type shards[K comparable, V any] struct {
	seed  maphash.Seed
	parts *[shardCount]map[K]V
	size  int
}

func (s shards[K, V]) get(key K) (V, bool) {
	if s.parts == nil {
		var none V
		return none, false
	}
	v, ok := s.parts[s.part(key)][key]
	return v, ok
}

func (s shards[K, V]) part(key K) int { return int(maphash.Comparable(s.seed, key) % shardCount) }

func (s shards[K, V]) values() iter.Seq[V] {
	return func(yield func(V) bool) {
		if s.parts == nil {
			return
		}
		for _, part := range s.parts {
			for _, v := range part {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// edit begins a changed copy.
func (s shards[K, V]) edit() *shardsEdit[K, V] { return &shardsEdit[K, V]{s: s} }

// shardsEdit is a copy of a map in the making. It copies each part once, when it is first changed.
type shardsEdit[K comparable, V any] struct {
	s     shards[K, V]
	owned *[shardCount]bool // nil until the list of parts is its own
}

func (e *shardsEdit[K, V]) get(key K) (V, bool) { return e.s.get(key) }

func (e *shardsEdit[K, V]) set(key K, v V) {
	part := e.own(key)
	before := len(part)
	part[key] = v
	e.s.size += len(part) - before
}

func (e *shardsEdit[K, V]) remove(key K) {
	if _, ok := e.s.get(key); !ok {
		return
	}
	delete(e.own(key), key)
	e.s.size--
}

// own returns the part of a key, to be changed.
func (e *shardsEdit[K, V]) own(key K) map[K]V {
	if e.owned == nil {
		e.owned = new([shardCount]bool)
		parts := new([shardCount]map[K]V)
		if e.s.parts == nil {
			e.s.seed = maphash.MakeSeed()
		} else {
			*parts = *e.s.parts
		}
		e.s.parts = parts
	}
	i := e.s.part(key)
	if !e.owned[i] {
		e.owned[i] = true
		if part := e.s.parts[i]; part == nil {
			e.s.parts[i] = make(map[K]V)
		} else {
			e.s.parts[i] = maps.Clone(part)
		}
	}
	return e.s.parts[i]
}

// done ends the edit: the map must not be changed any more.
func (e *shardsEdit[K, V]) done() shards[K, V] { return e.s }
