package nbd

import (
	"errors"
	"fmt"
	"syscall"
)

// Errors that callers tell apart.
var (
	// ErrClosed is returned by calls on a client that was closed.
	ErrClosed = errors.New("connection closed by us")
	// ErrProtocol is wrapped by every error about a server that broke the protocol.
	ErrProtocol = errors.New("server broke the protocol")
	// ErrStalled is wrapped by the errors of calls on a connection whose server had
	// requests to answer and finished none for too long.
	ErrStalled = errors.New("server stalls")
	// ErrNoContext is returned where no context is agreed on that could answer.
	ErrNoContext = errors.New("export has no such context")
)

// ServerError is an error that the server gave as its answer. The connection
// goes on.
type ServerError struct {
	Code    uint32 // as errno on Linux
	Message string // may be empty
}

func (e *ServerError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("server says: %v", e.Unwrap())
	}
	return fmt.Sprintf("server says: %v (%q)", e.Unwrap(), e.Message)
}

// Unwrap makes errors.Is find the errno.
func (e *ServerError) Unwrap() error { return syscall.Errno(e.Code) }

func violation(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}
