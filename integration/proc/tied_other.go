//go:build !linux

package proc

import "syscall"

// Tied does nothing where a process cannot be tied to another: who starts one has to end it.
func Tied() *syscall.SysProcAttr { return nil }
