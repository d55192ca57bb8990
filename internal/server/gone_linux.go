package server

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// peerGone tells whether the other side has closed the TCP connection, without reading from it. Bytes that it sent
// before may still be there to read.
func peerGone(raw syscall.RawConn) bool {
	gone := false
	err := raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return // not a socket that can tell
		}
		switch info.State {
		case unix.BPF_TCP_CLOSE, unix.BPF_TCP_CLOSE_WAIT, unix.BPF_TCP_CLOSING, unix.BPF_TCP_LAST_ACK:
			gone = true
		}
	})
	return gone || err != nil // err: the socket is closed on our side
}
