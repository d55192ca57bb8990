//go:build integration && unix

package clients

// pythonClients are those in Python.
func pythonClients() []*client { return nil }
