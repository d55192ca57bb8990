//go:build integration && unix

package clients

// nodeClients are those in JavaScript.
func nodeClients() []*client { return nil }
