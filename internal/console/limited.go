package console

import (
	"net"
	"sync"
)

// limited is a listener that has only so many connections at a time. Those beyond wait in the operating system's queue.
type limited struct {
	net.Listener
	places chan struct{} // holds one for each connection that is open
	closed chan struct{}
	once   sync.Once
}

func newLimited(l net.Listener, most int) *limited {
	return &limited{Listener: l, places: make(chan struct{}, most), closed: make(chan struct{})}
}

// Accept waits for a place and then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &place{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// Close ends Accept too where it waits for a place.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// place is a connection that gives its place back.
type place struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (p *place) Close() error {
	defer p.leave()
	return p.Conn.Close()
}
