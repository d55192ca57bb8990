package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Decode checks the body of a request (see Check, whose errors it returns) and decodes it. What it returns does
// not refer to body.
func Decode(h Header, body []byte) (kmsg.Request, error) {
	w, err := measure(h.Key, h.Version, body)
	if err != nil {
		return nil, err
	}
	if w.aliased {
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
