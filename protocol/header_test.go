package protocol

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestFrameSize(t *testing.T) {
	for name, test := range map[string]struct {
		prefix string
		want   int
		is     error
		says   string
	}{
		"empty":       {"\x00\x00\x00\x00", 0, nil, ""},
		"at limit":    {"\x00\x00\x10\x00", 4096, nil, ""},
		"above limit": {"\x00\x00\x10\x01", 0, ErrTooLarge, "frame of 4097 bytes, at most 4096 are allowed: too large"},
		"negative":    {"\xff\xff\xff\xff", 0, ErrMalformed, "frame size -1: malformed"},
		"a browser":   {"GET ", 0, ErrTooLarge, "looks like HTTP"},
		"TLS":         {"\x16\x03\x01\x02", 0, ErrTooLarge, "looks like TLS"},
		"ssh":         {"SSH-", 0, ErrTooLarge, "looks like SSH"},
	} {
		got, err := FrameSize([4]byte([]byte(test.prefix)), 4096)
		if got != test.want || !errors.Is(err, test.is) || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

// Headers are read as kmsg writes them, for every API and version.
func TestParseHeader(t *testing.T) {
	clientID := "client"
	for name, id := range map[string]*string{"null": nil, "empty": new(string), "named": &clientID} {
		t.Run(name, func(t *testing.T) {
			formatter := kmsg.NewRequestFormatter()
			if id != nil {
				formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID(*id))
			}
			eachVersion(t, func(t *testing.T, s *shape, version int16) {
				request := newFiller(1).request(s, version)
				frame := formatter.AppendRequest(nil, request, -7)[PrefixSize:]
				h, body, err := ParseHeader(frame)
				if err != nil {
					t.Fatal(err)
				}
				if h.Key != s.key.Int16() || h.Version != version || h.CorrelationID != -7 {
					t.Fatalf("%+v", h)
				}
				if (h.ClientID == nil) != (id == nil) || id != nil && *h.ClientID != *id {
					t.Fatalf("client id %v", h.ClientID)
				}
				if string(body) != string(request.AppendTo(nil)) {
					t.Fatalf("body % x", body)
				}
			})
		})
	}
}

func TestParseHeaderByHand(t *testing.T) {
	for name, test := range map[string]struct {
		frame string
		body  string
		is    error
		says  string
	}{
		"tagged fields are skipped":   {"\x00\x12\x00\x03\x00\x00\x00\x09\xff\xff\x02\x00\x01x\x05\x02yzbody", "body", nil, ""},
		"newer than any, flexible":    {"\x00\x12\x00\x63\x00\x00\x00\x09\xff\xff\x00body", "body", nil, ""},
		"any negative length is null": {"\x00\x12\x00\x03\x00\x00\x00\x09\x80\x00\x00body", "body", nil, ""},
		"never flexible":              {"\x00\x11\x00\x63\x00\x00\x00\x09\xff\xffbody", "body", nil, ""},
		"empty":                       {"", "", ErrMalformed, "request header"},
		"cut in the correlation id":   {"\x00\x12\x00\x03\x00\x00\x00", "", ErrMalformed, "needs 4 bytes, 3 are left"},
		"cut in the client id":        {"\x00\x12\x00\x03\x00\x00\x00\x09\x00\x05four", "", ErrMalformed, "header of ApiVersions v3 request"},
		"no tagged fields":            {"\x00\x12\x00\x03\x00\x00\x00\x09\xff\xff", "", ErrMalformed, "needs an unsigned varint"},
		"tagged fields lie":           {"\x00\x12\x00\x03\x00\x00\x00\x09\xff\xff\xff\xff\xff\xff\x0f\x00\x00", "", ErrMalformed, "4294967295 exceeds"},
		"tagged field lies":           {"\x00\x12\x00\x03\x00\x00\x00\x09\xff\xff\x01\x00\x80\x01\x00", "", ErrMalformed, "field 0 has 128 bytes, 1 are left"},
		"unknown key":                 {"\x7f\xff\x00\x00\x00\x00\x00\x09\xff\xff", "", ErrUnsupported, "API key 32767"},
		"key of brokers":              {"\x00\x04\x00\x00\x00\x00\x00\x09\xff\xff", "", ErrUnsupported, "API key 4"},
		"negative key":                {"\xff\xff\x00\x00\x00\x00\x00\x09\xff\xff", "", ErrUnsupported, "API key -1"},
		"negative version":            {"\x00\x12\xff\xff\x00\x00\x00\x09\xff\xffbody", "body", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h, body, err := ParseHeader([]byte(test.frame))
			if string(body) != test.body || !errors.Is(err, test.is) {
				t.Fatalf("body %q, %v", body, err)
			}
			if err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want it to say %q", err, test.says)
			}
			if len(test.frame) >= 8 && h.CorrelationID != 9 {
				t.Errorf("correlation id %d", h.CorrelationID)
			}
		})
	}
}

func TestClientIDIsACopy(t *testing.T) {
	frame := []byte("\x00\x12\x00\x03\x00\x00\x00\x09\x00\x02me\x00")
	h, _, err := ParseHeader(frame)
	if err != nil {
		t.Fatal(err)
	}
	clear(frame)
	if *h.ClientID != "me" {
		t.Errorf("%q", *h.ClientID)
	}
}

// Responses are framed as kmsg reads them, the header flexible where the response is, but never for ApiVersions.
func TestAppendResponse(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shape, version int16) {
		request := s.key.Request()
		request.SetVersion(version)
		response := request.ResponseKind()
		h := Header{Key: s.key.Int16(), Version: version, CorrelationID: 0x01020304}
		frame := AppendResponse([]byte("before"), h, response)[len("before"):]
		if size := binary.BigEndian.Uint32(frame); int(size) != len(frame)-PrefixSize {
			t.Fatalf("size %d of a frame of %d", size, len(frame))
		}
		want := "\x01\x02\x03\x04"
		if s.isFlexible(version) && s.key != kmsg.ApiVersions {
			want += "\x00"
		}
		want += string(response.AppendTo(nil))
		if got := string(frame[PrefixSize:]); got != want {
			t.Fatalf("got  % x\nwant % x", got, want)
		}
	})
}

// A client of the future asks for ApiVersions in a version that is unknown, and is answered in version 0.
func TestAppendResponseInAnotherVersion(t *testing.T) {
	response := kmsg.NewPtrApiVersionsResponse()
	response.ErrorCode = 35
	frame := AppendResponse(nil, Header{Key: 18, Version: 99, CorrelationID: 1}, response)
	if want := "\x00\x00\x00\x0a" + "\x00\x00\x00\x01" + "\x00\x23" + "\x00\x00\x00\x00"; string(frame) != want {
		t.Errorf("got  % x\nwant % x", frame, want)
	}
}
