//go:build integration && unix

package clients

// javaClients are those in Java.
func javaClients() []*client { return nil }
