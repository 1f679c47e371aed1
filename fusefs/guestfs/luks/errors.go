package luks

import (
	"errors"
	"fmt"
)

// ErrNotLUKS says that there is no header.
var ErrNotLUKS = errors.New("it has no LUKS header")

// ErrWrongKey says that a passphrase or key file opens none of the key slots.
var ErrWrongKey = errors.New("this passphrase or key file opens none of its key slots")

// UnsupportedError says that a header is whole and that what it describes is not read.
type UnsupportedError struct{ What string }

func (e *UnsupportedError) Error() string { return e.What }

func unsupported(format string, args ...any) error {
	return &UnsupportedError{fmt.Sprintf(format, args...)}
}

// CorruptError says what is wrong with a header and where.
type CorruptError struct {
	Off  int64 // bytes from the volume's start
	What string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("the LUKS header at %d is damaged: %s", e.Off, e.What)
}

func corrupt(off int64, format string, args ...any) error {
	return &CorruptError{off, fmt.Sprintf(format, args...)}
}
