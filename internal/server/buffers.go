package server

import (
	"math/bits"
	"sync"
)

// Buffers come in powers of two from 4 KiB to 16 MiB; larger ones are made to measure and left to the garbage
// collector, for they are rare and keeping them would double what an idle broker holds.
const (
	minBufferBits = 12
	maxBufferBits = 24
)

// buffers pools byte slices by size. The zero value is ready; safe for concurrent use.
type buffers struct {
	pools [maxBufferBits - minBufferBits + 1]sync.Pool
}

// buffer is a slice from buffers. Its length is its capacity.
type buffer struct {
	b []byte
}

// bufferSize is the length of the buffer that get returns for n bytes, and so what it costs.
func bufferSize(n int) int {
	if n > 1<<maxBufferBits {
		return n
	}
	return 1 << max(bits.Len(uint(max(n, 1)-1)), minBufferBits)
}

// get returns a buffer of at least n bytes with anything in it.
func (p *buffers) get(n int) *buffer {
	size := bufferSize(n)
	if pool := p.pool(size); pool != nil {
		if b, ok := pool.Get().(*buffer); ok {
			return b
		}
	}
	return &buffer{b: make([]byte, size)}
}

// put takes a buffer back; nobody may use it any more.
func (p *buffers) put(b *buffer) {
	if pool := p.pool(len(b.b)); pool != nil {
		pool.Put(b)
	}
}

func (p *buffers) pool(size int) *sync.Pool {
	if size > 1<<maxBufferBits {
		return nil
	}
	return &p.pools[bits.Len(uint(size-1))-minBufferBits]
}
