package record

import (
	"errors"
	"fmt"
)

// ErrShort says that the bytes end before the batch does: with more bytes it may be whole. It is the one error of
// this package that is not an [*Error].
var ErrShort = errors.New("record batch is cut short")

// The kinds of [Error], for errors.Is.
var (
	// ErrMagic: a message of format 0 or 1, which Kafka 4 no longer takes either (KIP-724).
	ErrMagic = errors.New("message format 0 or 1 is not supported, only record batches of format 2 are")
	// ErrCorrupt: no batch begins here: its size, magic or base offset is impossible (Kafka's
	// CorruptRecordException).
	ErrCorrupt = errors.New("corrupt record batch")
	// ErrChecksum: the bytes are not those that the checksum was made of (also a CorruptRecordException).
	ErrChecksum = errors.New("checksum mismatch in record batch")
	// ErrInvalid: the batch arrived as its sender wrote it, but its records are not well-formed (Kafka's
	// InvalidRecordException).
	ErrInvalid = errors.New("invalid record batch")
	// ErrCodec: the attributes name a compression codec that does not exist.
	ErrCodec = errors.New("unknown compression codec in record batch")
	// ErrTooLarge: decompressing the records would take more bytes than the [Decompressor] allows.
	ErrTooLarge = errors.New("record batch decompresses to more bytes than allowed")
)

// Error says what is wrong with a batch.
type Error struct {
	Base   Offset // base offset in the batch's header
	Record int    // index of the record at fault; -1 if it is the batch as a whole
	Kind   error  // ErrMagic, ErrCorrupt, ErrChecksum, ErrInvalid, ErrCodec or ErrTooLarge
	Detail string // the numbers, or what a decompressor said
}

func (e *Error) Error() string {
	if e.Record < 0 {
		return fmt.Sprintf("%v (base offset %d): %s", e.Kind, e.Base, e.Detail)
	}
	return fmt.Sprintf("%v (base offset %d, record %d): %s", e.Kind, e.Base, e.Record, e.Detail)
}

// Unwrap returns the error's kind.
func (e *Error) Unwrap() error { return e.Kind }
