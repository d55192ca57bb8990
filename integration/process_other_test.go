//go:build integration && unix && !linux

package integration

import "syscall"

// tied does nothing where a process cannot be tied to another; the tests' own cleanup has to do.
func tied() *syscall.SysProcAttr { return nil }

// peakMemory is not known here.
func peakMemory(int) int64 { return 0 }
