//go:build !unix

package broker

// descriptors returns how many files, sockets included, the process may have open, where the system does not tell.
func descriptors() int { return 16384 }

// addressSpace returns the limit of the process's address space: there is none.
func addressSpace() int64 { return 0 }
