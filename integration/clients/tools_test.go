//go:build integration && unix

package clients

// toolClients are command-line tools.
func toolClients() []*client { return []*client{kcat()} }
