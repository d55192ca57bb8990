package storage

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"

	"segue/storage/record"
)

// TestSipHash has the first vectors of the reference implementation (vectors.h, siphash 128), one of them of
// a whole block and a rest.
func TestSipHash(t *testing.T) {
	var key, input [16]byte
	for i := range key {
		key[i], input[i] = byte(i), byte(i)
	}
	k0, k1 := binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:])
	for n, want := range map[int]string{
		0:  "a3817f04ba25a8e66df67214c7550293",
		1:  "da87c1d86b99af44347659119b22fc45",
		15: "5493e99933b0a8117e08ec0f97cfc3d9",
	} {
		high, low := sipHash128(k0, k1, input[:n])
		got := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, high), low)
		if hex.EncodeToString(got) != want {
			t.Errorf("%d bytes: got %x, want %s", n, got, want)
		}
	}
}

// TestKeyMapAgainstModel compares with Go's map while keys are put until there is no more room and beyond.
func TestKeyMapAgainstModel(t *testing.T) {
	for _, size := range []int64{0, 1, 24, 48, 24 * 10, 24*11 - 1, 10_000, 1 << 20, keyPartsFrom*24 - 1, keyPartsFrom * 24, 3 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(size), 1))
			m, model := newKeyMap(size), map[string]record.Offset{}
			if m.Bytes() != 0 {
				t.Errorf("%d bytes before the first key", m.Bytes())
			}
			most := max(size/keyEntrySize, 1)
			refused := 0
			for offset := record.Offset(0); refused < 50; offset++ {
				key := fmt.Append(nil, r.Int64N(2*most+200))
				at := max(offset-record.Offset(r.IntN(5)), 0) // they need not come in order
				before, known := model[string(key)]
				if m.Put(key, at) {
					model[string(key)] = max(at, before)
				} else {
					refused++
					if known {
						t.Fatal("a key that is there was refused")
					}
				}
				if m.Len() != len(model) || m.Bytes() > max(size, keyEntrySize) {
					t.Fatalf("%d keys of %d, %d bytes of %d", m.Len(), len(model), m.Bytes(), size)
				}
			}
			if len(model) < int(most*75/100) { // nine tenths, less what parts differ by
				t.Errorf("full with %d keys, of %d entries", len(model), most)
			}
			for i := range 2*most + 300 {
				key := fmt.Append(nil, i)
				want, known := model[string(key)]
				if got, ok := m.Latest(key); got != want || ok != known {
					t.Fatalf("%s: got %d, %v, want %d, %v", key, got, ok, want, known)
				}
			}
			m.Reset()
			if _, ok := m.Latest([]byte("0")); ok || m.Len() != 0 || m.Bytes() != 0 || !m.Put(nil, 7) || m.Len() != 1 {
				t.Error("after Reset it is not as new")
			}
		})
	}
}

// TestKeyMapMemory has a large bound cost nothing before it is needed, and what is allocated stay near what is there.
func TestKeyMapMemory(t *testing.T) {
	m := newKeyMap(1 << 40)
	for i := range 1000 {
		if !m.Put(fmt.Append(nil, i), 1) {
			t.Fatal("full")
		}
	}
	if m.Bytes() > 100<<10 {
		t.Errorf("%d bytes for 1000 keys", m.Bytes())
	}
	// While a part grows its old entries are there too.
	const bound = 4 << 20
	m = newKeyMap(bound)
	for i := 0; m.Put(fmt.Append(nil, i), 1); i++ {
	}
	if part := keyEntrySize * int64(m.most); m.Bytes()+part > bound {
		t.Errorf("%d bytes and %d while it grows, want at most %d", m.Bytes(), part, bound)
	}
}

func BenchmarkKeyMap(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		keys := make([]byte, 0, 16*n)
		for i := range n {
			keys = fmt.Appendf(keys, "%016d", i)
		}
		key := func(i int) []byte { return keys[16*i:][:16] }
		b.Run(fmt.Sprintf("put/%d", n), func(b *testing.B) {
			for i := 0; i < b.N; i += n {
				m := newKeyMap(128 << 20)
				for j := range min(n, b.N-i) {
					m.Put(key(j), record.Offset(j))
				}
			}
		})
		b.Run(fmt.Sprintf("latest/%d", n), func(b *testing.B) {
			m := newKeyMap(128 << 20)
			for i := range n {
				m.Put(key(i), record.Offset(i))
			}
			r := rand.New(rand.NewPCG(1, 1))
			for b.Loop() {
				if _, ok := m.Latest(key(r.IntN(n))); !ok {
					b.Fatal("lost")
				}
			}
		})
	}
}
