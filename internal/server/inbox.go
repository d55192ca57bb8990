package server

import "io"

// inbox holds what has come on a connection and was not taken yet: in a small buffer that is always there, or, while
// large requests come, in a large one, so that one system call takes many of them. It is the reader's own.
type inbox struct {
	from       io.Reader
	small      []byte
	large      *buffer
	b          []byte // small, or that of large
	begin, end int    // of what waits in b
}

func newInbox(from io.Reader, size int) inbox {
	b := make([]byte, size)
	return inbox{from: from, small: b, b: b}
}

// Buffered returns how many bytes wait.
func (in *inbox) Buffered() int { return in.end - in.begin }

// Peek returns the next n bytes, which stay; n is at most the size of the buffer. With an error it returns what there is.
func (in *inbox) Peek(n int) ([]byte, error) {
	for in.Buffered() < n {
		if err := in.fill(n); err != nil {
			return in.b[in.begin:in.end], err
		}
	}
	return in.b[in.begin : in.begin+n], nil
}

// fill reads once, what there is to read and fits. Room is made for n bytes in all, and for half of the buffer.
func (in *inbox) fill(n int) error {
	if in.Buffered() == 0 {
		in.begin, in.end = 0, 0
	} else if room := len(in.b) - in.end; in.begin > 0 && (room < len(in.b)/2 || in.begin+n > len(in.b)) {
		in.begin, in.end = 0, copy(in.b, in.b[in.begin:in.end])
	}
	m, err := in.from.Read(in.b[in.end:])
	in.end += m
	if m > 0 {
		return nil // an error comes again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// Discard passes over n bytes, and waits for those that have not come.
func (in *inbox) Discard(n int) (int, error) {
	for left := n; ; {
		m := min(left, in.Buffered())
		in.begin += m
		if left -= m; left == 0 {
			return n, nil
		}
		if err := in.fill(1); err != nil {
			return n - left, err
		}
	}
}

// Read takes what waits, or else reads past the buffer.
func (in *inbox) Read(p []byte) (int, error) {
	if in.Buffered() == 0 {
		return in.from.Read(p)
	}
	n := copy(p, in.b[in.begin:in.end])
	in.begin += n
	return n, nil
}

// widen moves what waits into a larger buffer.
func (in *inbox) widen(large *buffer) {
	in.end = copy(large.b, in.b[in.begin:in.end])
	in.begin, in.large, in.b = 0, large, large.b
}

// narrow moves what waits, which has to fit, back into the small buffer, and returns the large one; nil if there is none.
func (in *inbox) narrow() *buffer {
	large := in.large
	if large != nil {
		in.end = copy(in.small, in.b[in.begin:in.end])
		in.begin, in.large, in.b = 0, nil, in.small
	}
	return large
}

// drop lets go of the buffers, in which nothing waits, until restore.
func (in *inbox) drop() { *in = inbox{from: in.from} }

// restore gives the inbox a small buffer of that size.
func (in *inbox) restore(size int) { *in = newInbox(in.from, size) }
