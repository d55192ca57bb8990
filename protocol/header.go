package protocol

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Header is the header of a request, of any header version (Kafka's RequestHeader).
type Header struct {
	Key           int16   // of the API, as in kmsg.Key
	Version       int16   // of the API; not checked against what a server offers
	CorrelationID int32   // repeated in the response
	ClientID      *string // nil where the client sent null; a copy, which does not refer to the frame
}

// ParseHeader splits a frame (without its size) into header and body; body is a slice of frame.
//
// It knows the header version from the API key and version (KIP-482): from the API's first flexible version on
// a section of tagged fields follows the client id, which itself stays a non-compact string. A version that is not known
// is parsed like the next one that is, so that ApiVersions can be answered with what is supported.
//
// The error wraps ErrUnsupported if the API is unknown, in which case key, version and correlation id are
// filled in but the rest cannot be told; it wraps ErrMalformed if the frame is too short or not sound.
func ParseHeader(frame []byte) (h Header, body []byte, err error) {
	c := cursor{rest: frame}
	h.Key = c.int16()
	h.Version = c.int16()
	h.CorrelationID = c.int32()
	if c.err != nil {
		return h, nil, fmt.Errorf("protocol: request header: %w: %w", ErrMalformed, c.err)
	}
	shape := shapeOf(h.Key)
	if shape == nil {
		return h, nil, fmt.Errorf("protocol: request with API key %d: %w", h.Key, ErrUnsupported)
	}
	if n := c.stringLength(false); n >= 0 {
		id := string(c.take(n))
		h.ClientID = &id
	}
	if shape.isFlexible(h.Version) {
		c.skipTags()
	}
	if c.err != nil {
		return h, nil, fmt.Errorf("protocol: header of %s v%d request: %w: %w", shape.name(), h.Version, ErrMalformed, c.err)
	}
	return h, c.rest, nil
}

// appendResponseHeader appends the header of a response. flexible says whether the response's version is.
// ApiVersions always has header version 0: a client that asks for it cannot know yet what the broker speaks
// (KIP-511).
func appendResponseHeader(dst []byte, h Header, flexible bool) []byte {
	dst = appendInt32(dst, h.CorrelationID)
	if flexible && h.Key != int16(kmsg.ApiVersions) {
		dst = append(dst, 0) // no tagged fields
	}
	return dst
}
