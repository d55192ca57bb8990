package vfs

import "golang.org/x/sys/unix"

// blockUnit is the unit of the counts in st: the fragment size, where the block size is only the best size
// for I/O.
func blockUnit(st *unix.Statfs_t) int64 {
	if st.Frsize > 0 {
		return int64(st.Frsize)
	}
	return int64(st.Bsize)
}
