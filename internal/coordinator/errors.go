package coordinator

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// The errors of Do. The first three are for clients to try again on, the others are not.
var (
	// ErrLoading: the shard is being loaded. The command was not looked at.
	ErrLoading = errors.New("the coordinator is loading")
	// ErrNotCoordinator: this broker does not lead the shard's partition, or does not any longer. A command that was
	// under way may stand or not.
	ErrNotCoordinator = errors.New("this broker is not the coordinator")
	// ErrUnavailable: the log could not be written. A command that was under way may stand or not.
	ErrUnavailable = errors.New("the coordinator is not available")
	// ErrTooLarge: the command led to more than the log takes in one batch. It was not done, and would not be the next
	// time.
	ErrTooLarge = errors.New("the command leads to more records than fit a batch")
	// ErrPanicked: the machine panicked over the command, which was not done.
	ErrPanicked = errors.New("the command cannot be done")
)

// isTooLarge says whether a partition refused a batch for its size.
func isTooLarge(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge)
}

// whileEnded returns what requests are told whose partition has ended for that reason.
func whileEnded(err error) error {
	if errors.Is(err, kerr.NotLeaderForPartition) {
		return ErrNotCoordinator
	}
	return ErrUnavailable
}
