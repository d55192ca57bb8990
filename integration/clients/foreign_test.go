//go:build integration && unix

package clients

// toolClients are command-line tools.
func toolClients() []*client { return nil }

// javaClients are those in Java.
func javaClients() []*client { return nil }

// pythonClients are those in Python.
func pythonClients() []*client { return nil }

// nodeClients are those in JavaScript.
func nodeClients() []*client { return nil }

// rustClients are those in Rust.
func rustClients() []*client { return nil }
