package proc

import "syscall"

// Tied makes a process die with the one that starts it, however that ends.
func Tied() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
