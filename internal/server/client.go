package server

import (
	"net"
	"strings"
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
	id        atomic.Pointer[string] // the client id of the newest request, cut to keptClientID
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

// keptClientID is how many bytes of a client id are kept with the connection and logged; clients may send 32 KiB.
const keptClientID = 256

// ClientID returns the client id of the newest request, or the first 256 bytes of it; empty if there was none.
func (c *Client) ClientID() string { return deref(c.id.Load()) }

// setClientID is called by the reader for every request; the id hardly ever changes.
func (c *Client) setClientID(id *string) {
	if id == nil {
		return
	}
	kept := (*id)[:min(len(*id), keptClientID)]
	if known := c.id.Load(); known == nil || *known != kept {
		if len(kept) < len(*id) {
			kept = strings.Clone(kept) // and let go of the rest
		}
		c.id.Store(&kept)
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
