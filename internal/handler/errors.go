package handler

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// apiError is a code with a text for the client (Kafka's ApiError). Its zero value is no error.
type apiError struct {
	code *kerr.Error
	text string
}

// failure returns the code with a text of its own.
func failure(code *kerr.Error, format string, args ...any) *apiError {
	return &apiError{code, fmt.Sprintf(format, args...)}
}

// plain returns the code with the text that it always has.
func plain(code *kerr.Error) *apiError { return &apiError{code, code.Description} }

func (e *apiError) Error() string { return e.text + ": " + e.code.Message }
func (e *apiError) Unwrap() error { return e.code }

// message returns the text as responses hold it.
func (e *apiError) message() *string { return &e.text }

// errorOf finds the code in err: the *kerr.Error that it wraps, REQUEST_TIMED_OUT for the end of a wait, else
// UNKNOWN_SERVER_ERROR. Nil stays nil.
func errorOf(err error) *kerr.Error {
	var coded *kerr.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &coded):
		return coded
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return kerr.RequestTimedOut
	}
	return kerr.UnknownServerError
}

// codeOf is the number of errorOf, 0 for no error.
func codeOf(err error) int16 {
	if e := errorOf(err); e != nil {
		return e.Code
	}
	return 0
}
