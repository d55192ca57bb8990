//go:build !linux

package server

import "syscall"

// sendfile is used on Linux only: elsewhere the calls differ too much for what they save.
func sendfile(_ turns, _, _ syscall.RawConn, _ int64, _ int) (int, error) { return 0, errNoSendfile }
