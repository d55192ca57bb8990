package partition

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/storage"
	"segue/storage/record"
)

// errClosed is why a partition that was closed or deleted answers nothing more. Clients look for the leader anew.
var errClosed = errors.New("partition is closed")

// InvalidRecords is the refusal of a batch for what is in its records (KIP-467). It unwraps to INVALID_RECORD or
// INVALID_TIMESTAMP.
type InvalidRecords struct {
	Code    *kerr.Error
	Message string // for the whole batch
	// Records are the records at fault, in order, at most maxRecordErrors of them. It is empty if the batch as a
	// whole is.
	Records []RecordError
}

// RecordError says what is wrong with one record of a batch.
type RecordError struct {
	Index   int32 // of the record in its batch
	Message string
}

// maxRecordErrors bounds the answer to a batch of bad records. A producer treats those beyond it like the good records
// of the batch: not written because of their neighbours.
const maxRecordErrors = 1000

func (e *InvalidRecords) Error() string {
	if len(e.Records) == 0 {
		return fmt.Sprintf("%s: %v", e.Message, e.Code)
	}
	return fmt.Sprintf("%s (record %d: %s): %v", e.Message, e.Records[0].Index, e.Records[0].Message, e.Code)
}

// Unwrap returns the code.
func (e *InvalidRecords) Unwrap() error { return e.Code }

// refuse is an error with a code and a text.
func refuse(code *kerr.Error, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// refusal is a code with what it is about: who, what, and the numbers.
type refusal struct {
	code *kerr.Error
	text string
}

func (e *refusal) Error() string { return e.text + ": " + e.code.Message }
func (e *refusal) Unwrap() error { return e.code }

// translate gives an error of the log the code that Kafka answers with in its place. It is the only function that does.
//
//   - An offset that the log does not have is OFFSET_OUT_OF_RANGE.
//   - A log that is closed, or whose records a later leader has written, is led by somebody else or by nobody for now:
//     NOT_LEADER_OR_FOLLOWER makes clients look again. FENCED_LEADER_EPOCH would be about an epoch that the client
//     sent.
//   - A batch that is damaged on disk is CORRUPT_MESSAGE, as what Kafka's CorruptRecordException becomes in a fetch: a
//     consumer stops there and says so, instead of asking again for ever as it would for KAFKA_STORAGE_ERROR.
//   - A batch that unpacks to more than the broker has the memory for is MESSAGE_TOO_LARGE: asking again is of no use.
//   - A folder in an older format is UNSUPPORTED_FOR_MESSAGE_FORMAT.
//   - A checkpoint that is not there is nothing that a client asked for; should it ever get that far it is
//     UNKNOWN_SERVER_ERROR.
//   - The end of a wait is REQUEST_TIMED_OUT, and still the context's error.
//   - All else is the disk: KAFKA_STORAGE_ERROR, as any IOException in Kafka. That a write failed for good, or only
//     for want of room, makes no difference to the producer: it tries again.
func translate(doing string, err error) error {
	if err == nil {
		return nil
	}
	var coded *kerr.Error
	if errors.As(err, &coded) {
		return err
	}
	return fmt.Errorf("%s: %w: %w", doing, codeOf(err), err)
}

func codeOf(err error) *kerr.Error {
	var corrupt *storage.CorruptError
	switch {
	case errors.Is(err, storage.ErrOffsetOutOfRange):
		return kerr.OffsetOutOfRange
	case errors.Is(err, storage.ErrClosed), errors.Is(err, errClosed), errors.Is(err, storage.ErrStaleEpoch):
		return kerr.NotLeaderForPartition
	case errors.Is(err, storage.ErrFailed), errors.Is(err, storage.ErrNotWritten):
		return kerr.KafkaStorageError
	case errors.Is(err, storage.ErrUnsupported):
		return kerr.UnsupportedForMessageFormat
	case errors.Is(err, storage.ErrNotFound):
		return kerr.UnknownServerError
	case errors.Is(err, record.ErrTooLarge):
		return kerr.MessageTooLarge
	case errors.As(err, &corrupt):
		return kerr.CorruptMessage
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return kerr.RequestTimedOut
	}
	return kerr.KafkaStorageError
}
