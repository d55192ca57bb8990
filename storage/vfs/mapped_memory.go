package vfs

import "unsafe"

// copyMapped copies like copy, but where one side is memory that stands for a mapping and may be stored to
// meanwhile. Behind a real mapping it is the kernel that reads and writes the memory at times of its own,
// which the race detector does not see and no caller can order. So the accesses here are kept from it, while
// those of callers remain visible and are checked against each other. The words are moved one by one since
// the built-in copy reports itself.
//
//go:norace
func copyMapped(dst, src []byte) int {
	n := min(len(dst), len(src))
	if n == 0 {
		return 0
	}
	d, s := unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src))
	i := 0
	for ; i+8 <= n; i += 8 {
		*(*[8]byte)(unsafe.Add(d, i)) = *(*[8]byte)(unsafe.Add(s, i))
	}
	for ; i < n; i++ {
		*(*byte)(unsafe.Add(d, i)) = *(*byte)(unsafe.Add(s, i))
	}
	return n
}

// zeroMapped is whether the first page of such memory holds nothing but zeros.
//
//go:norace
func zeroMapped(mem []byte) bool {
	n := min(len(mem), pageSize)
	p := unsafe.Pointer(unsafe.SliceData(mem))
	i := 0
	for ; i+8 <= n; i += 8 {
		if *(*[8]byte)(unsafe.Add(p, i)) != [8]byte{} {
			return false
		}
	}
	for ; i < n; i++ {
		if *(*byte)(unsafe.Add(p, i)) != 0 {
			return false
		}
	}
	return true
}
