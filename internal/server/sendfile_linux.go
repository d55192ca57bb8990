package server

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendfile moves up to n bytes at off of the file from into the socket to, and returns how many went: at least one, or
// 0 at the end of the file. It waits for room in the socket as a Write does, deadline and all. The file's own offset
// is neither used nor moved, so any number of connections may send from one descriptor.
func sendfile(t turns, to, from syscall.RawConn, off int64, n int) (sent int, err error) {
	var failed error
	pin := from.Control(func(file uintptr) { // keeps the descriptor open meanwhile
		failed = to.Write(func(socket uintptr) (done bool) {
			for {
				position := off
				t.take() // for the call alone: the wait for room takes no thread
				sent, err = unix.Sendfile(int(socket), int(file), &position, n)
				t.give()
				switch err {
				case unix.EINTR:
				case unix.EAGAIN:
					return false
				default:
					return true
				}
			}
		})
	})
	sent = max(sent, 0)
	switch {
	case pin != nil:
		return 0, fmt.Errorf("%w: %w", errNoSendfile, pin)
	case failed != nil: // closed, or the deadline
		return 0, failed
	case err == unix.EINVAL, err == unix.ENOSYS, err == unix.EOPNOTSUPP:
		return 0, fmt.Errorf("%w: %w", errNoSendfile, err)
	case err != nil:
		return 0, fmt.Errorf("sendfile: %w", err)
	}
	return sent, nil
}
