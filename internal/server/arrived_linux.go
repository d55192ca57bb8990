package server

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// awaitBytes waits until there is something to read, the end of the connection included, or the deadline for reading has
// passed, which is an error.
func awaitBytes(raw syscall.RawConn) error { return awaitArrival(raw, 1) }

// awaitArrival waits until so many bytes lie in the socket to be read, the other side has closed, or the deadline for
// reading has passed, which is an error.
func awaitArrival(raw syscall.RawConn, bytes int) error {
	return raw.Read(func(fd uintptr) bool {
		// What is asked is asked again whenever something arrives.
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		if err != nil || n >= bytes {
			return true
		}
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		return err != nil || info.State != unix.BPF_TCP_ESTABLISHED
	})
}
