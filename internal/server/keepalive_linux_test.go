package server

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A peer that has vanished without a word is found out within some minutes: the system asks after it.
func TestVanishedPeersAreAskedAfter(t *testing.T) {
	r := newSocketRig(t, Config{})
	p := r.dial()
	p.send(heartbeat(1))
	p.expect(1)
	options := map[int]int{unix.TCP_KEEPIDLE: 60, unix.TCP_KEEPINTVL: 15, unix.TCP_KEEPCNT: 4}
	err := r.onlyConn(t).raw.Control(func(fd uintptr) {
		if on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE); on != 1 || err != nil {
			t.Errorf("keepalive is %d, %v", on, err)
		}
		for option, want := range options {
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option); got != want || err != nil {
				t.Errorf("option %d is %d, %v; want %d", option, got, err, want)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
