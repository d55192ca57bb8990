package oracle

import (
	"bytes"
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// framesScenario is about what is no request, or none that the broker serves.
func framesScenario() scenario {
	// Each is held once: the version of ApiVersions does not matter.
	once := func(name string, run func(*client)) oneCase {
		return oneCase{name: name, api: kmsg.ApiVersions, from: 4, to: 4, run: run}
	}
	return scenario{name: "frames", cases: []oneCase{
		once("an API that is not there", func(c *client) {
			for _, key := range []int16{4, 5, 6, 7, 59, 52, 62, 999, -1, 32767} {
				c.raw(apiName(key), c.head(key, 0))
			}
		}),
		once("a version that is not served", func(c *client) {
			for _, v := range [][2]int16{{0, 2}, {0, 14}, {1, 3}, {1, 19}, {3, -1}, {3, 14}, {3, 32767}, {8, 11}, {11, 10}, {17, 2}} {
				c.raw(apiName(v[0]), append(c.head(v[0], v[1]), make([]byte, 100)...))
			}
		}),
		once("a version of ApiVersions that is not there", func(c *client) {
			for _, v := range []int16{99, 32767} {
				c.raw("ApiVersions", append(c.head(18, v), 0))
			}
		}),
		once("a negative version of ApiVersions", func(c *client) {
			c.raw("ApiVersions", c.head(18, -1))
		}),
		once("a body that is cut short", func(c *client) {
			for _, v := range [][2]int16{{3, 1}, {3, 12}, {0, 3}, {0, 9}, {1, 4}, {1, 12}, {2, 1}, {18, 3}, {19, 5}, {10, 0}} {
				c.raw(apiName(v[0]), c.head(v[0], v[1]))
			}
		}),
		once("more bytes than the request has", func(c *client) {
			c.raw("ApiVersions", append(c.head(18, 0), 1, 2, 3))
		}),
		once("a count that cannot be", func(c *client) {
			c.raw("Metadata", binary.BigEndian.AppendUint32(c.head(3, 1), 0x7fff_ffff))
			c.raw("Metadata", append(c.head(3, 9), 0, 0xff, 0xff, 0xff, 0xff, 0x0f))
			c.raw("Metadata", append(c.head(3, 9), 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
		}),
		once("a header that is cut short", func(c *client) {
			for n := range 10 {
				c.raw("part of a header", c.head(18, 0)[:n])
			}
		}),
		once("a client id that is longer than the request", func(c *client) {
			head := c.head(18, 0)
			binary.BigEndian.PutUint16(head[8:], 1000)
			c.raw("ApiVersions", head)
		}),
		once("tags that nobody knows", func(c *client) {
			body := append(c.head(18, 3), 1, 99, 2, 'h', 'i') // in the header
			body = append(body, 2, 'a', 2, '1')               // software and its version
			c.raw("ApiVersions", append(body, 1, 98, 1, 'x'))
		}),
		once("a negative size", func(c *client) { c.bytes("a size", []byte{0xff, 0xff, 0xff, 0xff}) }),
		once("a size of 0", func(c *client) { c.bytes("a size", []byte{0, 0, 0, 0}) }),
		once("a size that is too large", func(c *client) { c.bytes("a size", []byte{0x7f, 0, 0, 0}) }),
		once("HTTP", func(c *client) { c.bytes("HTTP", []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")) }),
		once("TLS", func(c *client) {
			c.bytes("TLS", append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, bytes.Repeat([]byte{'a'}, 100)...))
		}),
	}}
}

// head is the header of a request without a client id; tags, where the version has them, are the caller's.
func (c *client) head(key, version int16) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(c.last+1))
	return binary.BigEndian.AppendUint16(b, 0xffff)
}

// raw sends bytes behind their length, whatever they are, and notes what comes of it: that they are answered, with the error
// code that an answer to ApiVersions begins with, or that the connection is closed.
func (c *client) raw(what string, b []byte) {
	c.t.Helper()
	err := c.send(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	var frame []byte
	if err == nil {
		frame, err = c.frame()
	}
	switch {
	case closed(err):
		c.steps = append(c.steps, step{what, "closed"})
		c.close()
	case err != nil:
		c.t.Fatal(err)
	case what == kmsg.ApiVersions.Name():
		c.steps = append(c.steps, step{what, codeName(int16(binary.BigEndian.Uint16(frame[4:])))})
	default:
		c.steps = append(c.steps, step{what, "answered"})
	}
}

// bytes sends bytes that are no request, which the broker owes the end of the connection.
func (c *client) bytes(what string, b []byte) {
	c.t.Helper()
	if err := c.send(b); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.frame(); !closed(err) {
		c.t.Fatalf("%s: %v", what, err)
	}
	c.steps = append(c.steps, step{what, "closed"})
	c.close()
}
