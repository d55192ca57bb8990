package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// listener is an open listening socket.
type listener struct {
	net.Listener
	config Listener
}

// Delays after a failed accept, each twice the one before. Running out of descriptors is the usual reason, and only
// time helps.
const (
	firstAcceptDelay = 5 * time.Millisecond
	lastAcceptDelay  = time.Second
)

// Listen opens all listeners, or none and says which could not be. From then on the operating system takes
// connections; they wait for Serve.
func (s *Server) Listen(ctx context.Context) error {
	// Keepalive finds the peers that vanished without a word. NODELAY is what Go sets anyway.
	sockets := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4,
	}}
	var open []*listener
	for _, config := range s.config.Listeners {
		l, err := sockets.Listen(ctx, "tcp", config.Addr)
		if err != nil {
			for _, l := range open {
				l.Close()
			}
			return fmt.Errorf("server: listener %s cannot listen on %q (is the port taken, the address this machine's?): %w",
				config.Name, config.Addr, err)
		}
		open = append(open, &listener{l, config})
	}
	if err := s.adopt(open); err != nil {
		return err
	}
	for _, l := range open {
		s.log.Info().Str("listener", l.config.Name).Stringer("address", l.Addr()).Msg("listening")
	}
	return nil
}

// adopt makes open listeners the server's, which closes them if it has stopped already.
func (s *Server) adopt(open []*listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.listeners != nil {
		for _, l := range open {
			l.Close()
		}
		return errors.New("server: Listen was called twice or after Shutdown")
	}
	s.listeners = open
	return nil
}

// Addrs returns the address on which each listener listens, by the listener's name; empty before Listen.
func (s *Server) Addrs() map[string]net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make(map[string]net.Addr, len(s.listeners))
	for _, l := range s.listeners {
		addrs[l.config.Name] = l.Addr()
	}
	return addrs
}

// accept takes connections from one listener until the server stops.
func (s *Server) accept(l *listener) {
	delay := firstAcceptDelay
	for {
		socket, err := l.Accept()
		if err == nil {
			delay = firstAcceptDelay
			s.take(l, socket)
			continue
		}
		select {
		case <-s.stopping:
			return
		default:
		}
		s.counts.acceptErrors.Add(1)
		if skipped, ok := s.failures.now(); ok {
			s.log.Error().Err(err).Str("listener", l.config.Name).Int("others_unlogged", skipped).
				Msg("cannot accept connections for the moment (if it is too many open files, raise the limit: ulimit -n)")
		}
		timer := time.NewTimer(delay)
		select {
		case <-s.stopping:
			timer.Stop()
			return
		case <-timer.C:
		}
		delay = min(2*delay, lastAcceptDelay)
	}
}

// tune sets the sizes of a socket's buffers. A size that the system refuses is not worth the connection.
func (s *Server) tune(socket net.Conn) {
	tcp, ok := socket.(*net.TCPConn)
	if !ok {
		return
	}
	if s.config.SendBuffer > 0 {
		tcp.SetWriteBuffer(s.config.SendBuffer)
	}
	if s.config.ReceiveBuffer > 0 {
		tcp.SetReadBuffer(s.config.ReceiveBuffer)
	}
}
