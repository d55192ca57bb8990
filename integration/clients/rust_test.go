//go:build integration && unix

package clients

// rustClients are those in Rust.
func rustClients() []*client { return nil }
