package server

import (
	"net"
	"sync/atomic"
)

// Client is the other end of a connection, for as long as that is open. Its methods may be called by anyone at any
// time; handlers may compare Clients to tell connections apart.
type Client struct {
	// ID numbers the connections of this process from 1. It is what logs show as conn.
	ID uint64
	// Listener is the name of the listener that took the connection.
	Listener string
	// Remote and Local are the two ends.
	Remote, Local net.Addr

	software  atomic.Pointer[Software]
	principal atomic.Pointer[string]
	id        atomic.Pointer[string] // the client id of the newest request
}

// Software is what a client says about itself in ApiVersions (KIP-511).
type Software struct{ Name, Version string }

// Software returns what SetSoftware was told last.
func (c *Client) Software() Software {
	if s := c.software.Load(); s != nil {
		return *s
	}
	return Software{}
}

// SetSoftware notes what the client runs. The caller has checked both strings: they appear in logs and metrics.
func (c *Client) SetSoftware(s Software) { c.software.Store(&s) }

// Principal returns whom the client has proved to be, as in "User:alice"; empty before it has.
func (c *Client) Principal() string { return deref(c.principal.Load()) }

// SetPrincipal is called by the handler that has authenticated the client.
func (c *Client) SetPrincipal(p string) { c.principal.Store(&p) }

// ClientID returns the client id of the newest request, empty if there was none.
func (c *Client) ClientID() string { return deref(c.id.Load()) }

// setClientID is called by the reader for every request; the id hardly ever changes.
func (c *Client) setClientID(id *string) {
	if id != nil && (c.id.Load() == nil || *c.id.Load() != *id) {
		c.id.Store(id)
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
