//go:build integration

package integration

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// sysCall is one system call of a transcript that strace -f -yy -xx has written.
type sysCall struct {
	name string
	args []sysArg
	ret  int64 // -1 for a failure, and for a call that never returned
	done bool  // it returned
}

// sysArg is one argument: its text and what is in it.
type sysArg struct {
	text   string
	path   string // what a descriptor stands for, as -yy tells: a path, or the two ends of a connection
	data   []byte // all strings in it, one after the other
	cut    bool   // strace has not written all of a string
	number int64  // where the text is one
}

// arg returns an argument, or the zero value where a call that never returned has none.
func (c *sysCall) arg(i int) sysArg {
	if i < len(c.args) {
		return c.args[i]
	}
	return sysArg{}
}

// sysEvent is the beginning or the end of a call. The order of events is that in which strace let the threads go on: of a
// call that ends before another begins, the kernel had done all before it had heard of the other.
type sysEvent struct {
	call *sysCall
	end  bool
}

// parseTranscript reads what strace has written of all threads of a process.
func parseTranscript(r io.Reader) ([]sysEvent, error) {
	var events []sysEvent
	type begun struct {
		text string
		call *sysCall
	}
	open := map[string]begun{} // by thread
	in := bufio.NewReaderSize(r, 1<<20)
	for number := 1; ; number++ {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			break // what has no end of line is not whole
		}
		if err != nil {
			return nil, err
		}
		thread, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		_, text, ok := strings.Cut(strings.TrimLeft(rest, " "), " ") // without the time
		if !ok {
			return nil, fmt.Errorf("line %d: %.80q", number, line)
		}
		switch {
		case strings.HasPrefix(text, "--- "), strings.HasPrefix(text, "+++ "):
			continue
		case strings.HasPrefix(text, "<... "):
			// What is resumed may be given up at once, by the end of the process.
			_, rest, ok := strings.Cut(strings.Replace(text, " <unfinished ...>", "", 1), " resumed>")
			b, was := open[thread]
			if !ok || !was {
				return nil, fmt.Errorf("line %d resumes what was not begun: %.80q", number, line)
			}
			delete(open, thread)
			if err := b.call.parse(b.text + rest); err != nil {
				return nil, fmt.Errorf("line %d: %w: %.80q", number, err, line)
			}
			events = append(events, sysEvent{b.call, true})
			continue
		}
		call := &sysCall{ret: -1}
		events = append(events, sysEvent{call, false})
		if unfinished, ok := strings.CutSuffix(strings.TrimSuffix(text, ") = ?"), " <unfinished ...>"); ok {
			// If it is never resumed, as when the process ends in the middle of it, this is all that is known of it.
			if err := call.parse(unfinished); err != nil {
				return nil, fmt.Errorf("line %d: %w: %.80q", number, err, line)
			}
			open[thread] = begun{unfinished, call}
			continue
		}
		if err := call.parse(text); err != nil {
			return nil, fmt.Errorf("line %d: %w: %.80q", number, err, line)
		}
		events = append(events, sysEvent{call, true})
	}
	return events, nil
}

var errLine = errors.New("not a system call")

// parse takes name(args) = result, or the beginning of it.
func (c *sysCall) parse(text string) error {
	name, rest, ok := strings.Cut(text, "(")
	if !ok || name == "" {
		return errLine
	}
	c.name, c.args = name, nil
	for {
		a, after, err := scanArg(strings.TrimLeft(rest, " "))
		if err != nil {
			return err
		}
		if a.text != "" {
			c.args = append(c.args, a)
		}
		if rest, ok = strings.CutPrefix(after, ","); ok {
			continue
		}
		if rest, ok = strings.CutPrefix(after, ")"); !ok {
			return nil // unfinished
		}
		break
	}
	result, ok := strings.CutPrefix(strings.TrimLeft(rest, " "), "= ")
	if !ok {
		return errLine
	}
	digits := strings.TrimLeft(result, "-0123456789abcdefx")
	n, err := strconv.ParseInt(result[:len(result)-len(digits)], 0, 64)
	if err == nil { // and not a question mark: a call that is made again, or ended with the process
		c.ret, c.done = n, true
	}
	return nil
}

// scanArg takes one argument from the beginning of a text, up to the comma or the parenthesis behind it.
func scanArg(s string) (a sysArg, rest string, err error) {
	depth, i := 0, 0
	for i < len(s) {
		switch s[i] {
		case '"':
			end := strings.IndexByte(s[i+1:], '"')
			if end < 0 {
				return a, "", fmt.Errorf("%w: a string has no end", errLine)
			}
			data, err := unhex(s[i+1 : i+1+end])
			if err != nil {
				return a, "", err
			}
			a.data = append(a.data, data...)
			i += end + 2
			a.cut = a.cut || strings.HasPrefix(s[i:], "...")
			continue
		case '<':
			n, path, err := scanPath(s[i:])
			if err != nil {
				return a, "", err
			}
			a.path = path
			i += n
			continue
		case '(', '[', '{':
			depth++
		case ',', ')', ']', '}':
			if depth == 0 {
				a.text = s[:i]
				a.number, _ = strconv.ParseInt(strings.TrimSpace(a.text), 0, 64)
				return a, s[i:], nil
			}
			if s[i] != ',' {
				depth--
			}
		}
		i++
	}
	a.text = s
	a.number, _ = strconv.ParseInt(strings.TrimSpace(s), 0, 64)
	return a, "", nil
}

// scanPath takes what stands in angle brackets behind a descriptor.
func scanPath(s string) (n int, path string, err error) {
	if strings.HasPrefix(s, `<\x`) {
		n = 1
		for strings.HasPrefix(s[n:], `\x`) {
			n += 4
		}
		if n > len(s) {
			return 0, "", errLine
		}
		data, err := unhex(s[1:n])
		if err != nil {
			return 0, "", err
		}
		path = string(data)
		if s[n:] != "" && s[n] == '<' { // of a device: its numbers
			n += strings.IndexByte(s[n:], '>') + 1
		}
		if !strings.HasPrefix(s[n:], ">") {
			return 0, "", fmt.Errorf("%w: the path %q has no end", errLine, path)
		}
		return n + 1, path, nil
	}
	// Of a socket: <TCP:[127.0.0.1:9092->127.0.0.1:50000]>; of others without strings in them: <pipe:[3]>.
	end := strings.Index(s, "]>")
	if end < 0 {
		return 0, "", fmt.Errorf("%w: what a descriptor is has no end", errLine)
	}
	return end + 2, s[1 : end+1], nil
}

// unhex takes a string that is written as \x00\x01.
func unhex(s string) ([]byte, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	if err != nil || len(b)*4 != len(s) {
		return nil, fmt.Errorf("%w: a string is not hexadecimal", errLine)
	}
	return b, nil
}
