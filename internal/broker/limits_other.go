//go:build !unix

package broker

// descriptors returns how many files, sockets included, the process may have open, where the system does not tell.
func descriptors() int { return 4 * defaultOpenFiles }
