package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Measured is the body of a request that has passed the guard, with what it takes to decode it. It is good for as long
// as the body is.
type Measured struct {
	// Size is how many bytes of memory the decoded request takes, as DecodedSize says.
	Size int

	h       Header
	body    []byte
	aliased bool // the decoder would leave references to body
}

// Measure checks the body of a request (see Check, whose errors it returns) without decoding it, so that memory can be
// set aside first.
func Measure(h Header, body []byte) (Measured, error) {
	w, err := measure(h.Key, h.Version, body)
	return Measured{Size: w.memory, h: h, body: body, aliased: w.aliased}, err
}

// MeasureLimit is the most that Size can be for a body of so many bytes.
func MeasureLimit(body int) int { return memoryLimit(body) }

// Decode measures the body of a request and decodes it. What it returns does not refer to body.
func Decode(h Header, body []byte) (kmsg.Request, error) {
	m, err := Measure(h, body)
	if err != nil {
		return nil, err
	}
	return m.Decode()
}

// Decode decodes the body. What it returns does not refer to it.
func (m Measured) Decode() (kmsg.Request, error) {
	h, body := m.h, m.body
	if m.aliased {
		body = bytes.Clone(body)
	}
	request := kmsg.RequestForKey(h.Key)
	request.SetVersion(h.Version)
	if err := request.ReadFrom(body); err != nil {
		return nil, &RequestError{Key: h.Key, Version: h.Version, Err: fmt.Errorf("%w: %w", ErrMalformed, err)}
	}
	return request, nil
}

// AppendResponse appends a whole response frame to dst: size, response header, response. h is the header of the
// request. The response goes out in its own version, which is the request's except where ApiVersions is asked for
// in a version that is unknown and is answered in version 0.
func AppendResponse(dst []byte, h Header, response kmsg.Response) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = appendResponseHeader(dst, h, response.IsFlexible())
	dst = response.AppendTo(dst)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-PrefixSize))
	return dst
}
