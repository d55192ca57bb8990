//go:build linux

// Command bare does what a broker does to bytes and nothing else, with blocking system calls on a thread for each
// connection: it is the limit that the broker is measured against.
//
//	bare produce FOLDER [sync]          appends what comes on each connection to a file of its own and answers each frame
//	bare fetch FILE REGION              answers each frame with the next REGION bytes of a file
//	bare write FOLDER SIZE COUNT FILES  prints the microseconds that each of COUNT rounds took, in which SIZE bytes are
//	                                    written at the end of each of FILES files
//	bare sync FOLDER SIZE COUNT FILES   the same with an fdatasync behind each write
//
// The first two print the address that they listen on.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readSize is how much is taken from a socket at once.
	readSize = 512 << 10
	// prefix is the length in front of a frame.
	prefix = 4
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) >= 2 && args[0] == "produce":
		return serve(func(socket, n int) error {
			return appendFrames(socket, filepath.Join(args[1], strconv.Itoa(n)), len(args) > 2 && args[2] == "sync")
		})
	case len(args) == 3 && args[0] == "fetch":
		region, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return serve(func(socket, _ int) error { return sendRegions(socket, args[1], region) })
	case len(args) == 5 && (args[0] == "write" || args[0] == "sync"):
		size, err := strconv.Atoi(args[2])
		count, err2 := strconv.Atoi(args[3])
		files, err3 := strconv.Atoi(args[4])
		if err := errors.Join(err, err2, err3); err != nil {
			return err
		}
		return timeRounds(args[1], size, count, files, args[0] == "sync")
	}
	return errors.New("usage: bare produce FOLDER [sync] | bare fetch FILE REGION | bare write|sync FOLDER SIZE COUNT FILES")
}

// serve accepts connections for ever and gives each a thread.
func serve(each func(socket, n int) error) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	for n := 0; ; n++ {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		f, err := conn.(*net.TCPConn).File() // a descriptor that blocks
		if err := errors.Join(err, conn.Close()); err != nil {
			return err
		}
		go func() {
			runtime.LockOSThread()
			defer f.Close()
			socket := int(f.Fd())
			if err := errors.Join(unix.SetNonblock(socket, false), each(socket, n)); err != nil {
				fmt.Fprintln(os.Stderr, "bare:", err)
			}
		}()
	}
}

// appendFrames writes all whole frames of each read at once to a file, with their checksum computed, and answers each with
// its correlation id.
func appendFrames(socket int, path string, sync bool) error {
	file, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer unix.Close(file)
	var (
		buf     = make([]byte, readSize)
		answers []byte
		have    int
		table   = crc32.MakeTable(crc32.Castagnoli)
		sums    uint32
	)
	for {
		n, err := unix.Read(socket, buf[have:])
		if err != nil || n == 0 {
			return err
		}
		have += n
		whole := 0
		answers = answers[:0]
		for have-whole >= prefix {
			size := prefix + int(binary.BigEndian.Uint32(buf[whole:]))
			if size > len(buf) {
				return fmt.Errorf("a frame of %d bytes", size)
			}
			if have-whole < size {
				break
			}
			frame := buf[whole : whole+size]
			sums ^= crc32.Checksum(frame, table)
			answers = append(answers, 0, 0, 0, prefix)
			answers = append(answers, frame[8:12]...)
			whole += size
		}
		if whole == 0 {
			continue
		}
		if _, err := unix.Write(file, buf[:whole]); err != nil {
			return err
		}
		if sync {
			if err := unix.Fdatasync(file); err != nil {
				return err
			}
		}
		if _, err := unix.Write(socket, answers); err != nil {
			return err
		}
		have = copy(buf, buf[whole:have])
	}
}

// sendRegions answers each frame with the next region of a file, and begins again at its end.
func sendRegions(socket int, path string, region int) error {
	file, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(file)
	var stat unix.Stat_t
	if err := unix.Fstat(file, &stat); err != nil {
		return err
	}
	if stat.Size < int64(region) {
		return fmt.Errorf("%s has %d bytes, a region %d", path, stat.Size, region)
	}
	buf := make([]byte, 64<<10)
	head := binary.BigEndian.AppendUint32(nil, uint32(region))
	at := int64(0)
	for have := 0; ; {
		n, err := unix.Read(socket, buf[have:])
		if err != nil || n == 0 {
			return err
		}
		have += n
		for have >= prefix {
			size := prefix + int(binary.BigEndian.Uint32(buf))
			if have < size {
				break
			}
			have = copy(buf, buf[size:have])
			if err := unix.Send(socket, head, unix.MSG_MORE); err != nil {
				return err
			}
			if at+int64(region) > stat.Size {
				at = 0
			}
			for left := region; left > 0; {
				n, err := unix.Sendfile(socket, file, &at, left)
				if err != nil {
					return err
				}
				left -= n
			}
		}
	}
}

// timeRounds appends to files, one after the other, again and again and prints how long each round took.
func timeRounds(folder string, size, count, files int, sync bool) error {
	open := make([]int, files)
	for i := range open {
		file, err := unix.Open(filepath.Join(folder, "round"+strconv.Itoa(i)), unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		defer unix.Close(file)
		open[i] = file
	}
	block := make([]byte, size)
	took := make([]time.Duration, count)
	for i := range took {
		began := time.Now()
		for _, file := range open {
			if _, err := unix.Write(file, block); err != nil {
				return err
			}
			if !sync {
				continue
			}
			if err := unix.Fdatasync(file); err != nil {
				return err
			}
		}
		took[i] = time.Since(began)
	}
	for _, d := range took {
		fmt.Println(d.Microseconds())
	}
	return nil
}
