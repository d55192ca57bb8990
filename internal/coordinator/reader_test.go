package coordinator

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// readOffset reads the value of a committed offset as far as both its forms have it.
func readOffset(r *Reader) string {
	version := r.Int16()
	r.Flexible = version >= 4
	s := fmt.Sprint(version, r.Int64(), r.Int32(), r.String(), r.Int64())
	r.Tags(func(tag int, b []byte) { s += fmt.Sprintf(" %d=%x", tag, b) })
	return s
}

// TestReader reads what kmsg has written, in both forms; cut off anywhere it is bad, and reads as nothing from there on.
func TestReader(t *testing.T) {
	for _, version := range []int16{3, 4} {
		v := kmsg.OffsetCommitValue{Version: version, Offset: 5, LeaderEpoch: 6, Metadata: "m", CommitTimestamp: 7, TopicID: [16]byte{8}}
		v.UnknownTags.Set(9, []byte("later"))
		whole := v.AppendTo(nil)
		want := fmt.Sprint(version, 5, 6, "m", 7)
		if version == 4 {
			want += " 0=08000000000000000000000000000000 9=" + fmt.Sprintf("%x", "later")
		}
		r := Reader{Left: whole}
		if got := readOffset(&r); got != want || r.Bad || len(r.Left) > 0 {
			t.Errorf("version %d: %q (bad: %v, %d bytes left), want %q", version, got, r.Bad, len(r.Left), want)
		}
		for n := range whole {
			r := Reader{Left: whole[:n:n]}
			if got := readOffset(&r); !r.Bad {
				t.Errorf("version %d, %d bytes of %d: %q", version, n, len(whole), got)
			}
			if r.Int8() != 0 || r.Int64() != 0 || r.NullableBytes() != nil || r.String() != "" {
				t.Errorf("version %d, %d bytes of %d: something is read behind what is bad", version, n, len(whole))
			}
		}
	}
}

// TestReaderBounds: lengths and counts beyond what is left are refused before anything is made of them.
func TestReaderBounds(t *testing.T) {
	for _, tt := range []struct {
		name     string
		flexible bool
		bytes    []byte
		read     func(r *Reader) bool // whether it is what it should be
		bad      bool
	}{
		{"an array", false, []byte{0, 0, 0, 2, 1, 2, 3, 4}, func(r *Reader) bool { return r.ArrayLen(2) == 2 && r.Count == 2 }, false},
		{"one of too many", false, []byte{0x7f, 0xff, 0xff, 0xff, 1}, func(r *Reader) bool { return r.ArrayLen(1) == 0 && r.Count == 0 }, true},
		{"one of fewer than none", false, []byte{0xff, 0xff, 0xff, 0xfe, 1}, func(r *Reader) bool { return r.ArrayLen(1) == 0 }, true},
		{"null for an array", false, []byte{0xff, 0xff, 0xff, 0xff}, func(r *Reader) bool { return r.ArrayLen(1) == 0 }, true},
		{"a null array", false, []byte{0xff, 0xff, 0xff, 0xff}, func(r *Reader) bool { return r.NullableArrayLen(1) == 0 }, false},
		{"a compact null array", true, []byte{0}, func(r *Reader) bool { return r.NullableArrayLen(1) == 0 }, false},
		{"a compact array", true, []byte{3, 1, 2}, func(r *Reader) bool { return r.ArrayLen(1) == 2 }, false},
		{"a compact array of too many", true, []byte{4, 1, 2}, func(r *Reader) bool { return r.ArrayLen(1) == 0 }, true},
		{"a number without an end", true, bytes.Repeat([]byte{0xff}, 12), func(r *Reader) bool { return r.ArrayLen(1) == 0 }, true},
		{"a null string", false, []byte{0xff, 0xff}, func(r *Reader) bool { return r.NullableString() == nil }, false},
		{"null for a string", false, []byte{0xff, 0xff}, func(r *Reader) bool { return r.String() == "" }, true},
		{"an empty string", true, []byte{1}, func(r *Reader) bool { return *r.NullableString() == "" }, false},
		{"null bytes", true, []byte{0}, func(r *Reader) bool { return r.NullableBytes() == nil }, false},
		{"bytes", false, []byte{0, 0, 0, 1, 7}, func(r *Reader) bool { return bytes.Equal(r.NullableBytes(), []byte{7}) }, false},
		{"too many bytes", false, []byte{0, 0, 0, 2, 7}, func(r *Reader) bool { return r.NullableBytes() == nil }, true},
		{"two billion tags", true, []byte{0xff, 0xff, 0xff, 0xff, 0x07, 0, 0}, func(r *Reader) bool { r.Tags(func(int, []byte) {}); return true }, true},
	} {
		r := Reader{Left: tt.bytes, Flexible: tt.flexible}
		if !tt.read(&r) || r.Bad != tt.bad || len(r.Left) > 0 != (tt.name == "an array" || tt.name == "a compact array") {
			t.Errorf("%s: bad is %v, %d bytes are left", tt.name, r.Bad, len(r.Left))
		}
	}
}
