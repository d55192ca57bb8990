package server

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// admission counts open connections and says which new ones are too many. Safe for concurrent use.
type admission struct {
	max, maxPerIP int // 0 is no limit

	mu    sync.Mutex // guards the fields below
	total int
	byIP  map[netip.Addr]int
}

// admit counts a connection in, or returns why it may not be.
func (a *admission) admit(ip netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.max > 0 && a.total >= a.max {
		return fmt.Errorf("the broker has its maximum of %d connections (max.connections)", a.max)
	}
	if a.maxPerIP > 0 && ip.IsValid() && a.byIP[ip] >= a.maxPerIP {
		return fmt.Errorf("address %s has its maximum of %d connections (max.connections.per.ip)", ip, a.maxPerIP)
	}
	a.total++
	if ip.IsValid() {
		if a.byIP == nil {
			a.byIP = make(map[netip.Addr]int)
		}
		a.byIP[ip]++
	}
	return nil
}

// leave counts an admitted connection out.
func (a *admission) leave(ip netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
	if a.byIP[ip] > 1 {
		a.byIP[ip]--
	} else {
		delete(a.byIP, ip)
	}
}

func (a *admission) open() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

// addressOf returns the IP address in addr, an IPv4 one always in its own form; invalid where there is none.
func addressOf(addr net.Addr) netip.Addr {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// occasionally lets one log line through per interval and counts the others. Safe for concurrent use.
type occasionally struct {
	interval time.Duration

	mu      sync.Mutex // guards the fields below
	last    time.Time
	skipped int
}

// now tells whether to log, and how many lines were left out since the last one.
func (o *occasionally) now() (skipped int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := time.Now()
	if !o.last.IsZero() && t.Sub(o.last) < o.interval {
		o.skipped++
		return 0, false
	}
	skipped = o.skipped
	o.last, o.skipped = t, 0
	return skipped, true
}
