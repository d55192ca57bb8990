//go:build unix

package broker

import "golang.org/x/sys/unix"

// descriptors returns how many files, sockets included, the process may have open.
func descriptors() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 8192
	}
	return int(min(limit.Cur, 1<<30))
}

// addressSpace returns the limit of the process's address space in bytes, 0 if there is none.
func addressSpace() int64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_AS, &limit); err != nil || limit.Cur >= noLimit {
		return 0
	}
	return int64(limit.Cur)
}
