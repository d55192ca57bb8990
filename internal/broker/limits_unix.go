//go:build unix

package broker

import "golang.org/x/sys/unix"

// descriptors returns how many files, sockets included, the process may have open.
func descriptors() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 2 * defaultOpenFiles
	}
	return int(min(limit.Cur, 1<<30))
}
