//go:build darwin || freebsd || dragonfly

package vfs

import "golang.org/x/sys/unix"

// blockUnit is the unit of the counts in st.
func blockUnit(st *unix.Statfs_t) int64 { return int64(st.Bsize) }
