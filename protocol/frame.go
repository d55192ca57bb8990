package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxFrame is the size in bytes up to which a request is read unless configured otherwise: Kafka's default of
// socket.request.max.bytes, 100 MiB. An API's own limit may be lower.
const MaxFrame = 100 << 20

// PrefixSize is the number of bytes of the size that stands before every request and response.
const PrefixSize = 4

var (
	// ErrTooLarge marks a frame over its limit, a request that would cost too much memory to decode, and a
	// response that no frame can hold.
	ErrTooLarge = errors.New("too large")

	// ErrMalformed marks bytes that are not what their API and version say.
	ErrMalformed = errors.New("malformed")

	// ErrUnsupported marks an API or a version that this package does not know.
	ErrUnsupported = errors.New("unsupported")
)

// FrameSize reads the size that stands before a frame: how many bytes follow it. The error wraps ErrMalformed
// if the size is negative and ErrTooLarge if it is above limit; the connection cannot be read any further then.
func FrameSize(prefix [PrefixSize]byte, limit int32) (int, error) {
	n := int32(binary.BigEndian.Uint32(prefix[:]))
	switch {
	case n < 0:
		return 0, fmt.Errorf("protocol: frame size %d%s: %w", n, foreign(prefix), ErrMalformed)
	case n > limit:
		return 0, fmt.Errorf("protocol: frame of %d bytes, at most %d are allowed%s: %w", n, limit, foreign(prefix), ErrTooLarge)
	}
	return int(n), nil
}

// foreign guesses which other protocol a frame size really is the beginning of. People point browsers, probes
// and TLS clients at a plaintext port, and the bare number tells them nothing.
func foreign(prefix [PrefixSize]byte) string {
	switch string(prefix[:]) {
	case "GET ", "HEAD", "POST", "PUT ", "OPTI", "PRI ":
		return " (this looks like HTTP: is the client meant for another port?)"
	case "SSH-":
		return " (this looks like SSH: is the client meant for another port?)"
	}
	if prefix[0] == 0x16 && prefix[1] == 0x03 {
		return " (this looks like TLS: use a TLS listener, or turn TLS off in the client)"
	}
	return ""
}
