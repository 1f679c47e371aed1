package bitlocker

import (
	"errors"
	"fmt"
	"io"
)

// ErrNotBitLocker says that a volume does not begin as one of BitLocker.
var ErrNotBitLocker = errors.New("it has no BitLocker header")

// ErrWrongKey says that a secret opens none of the volume's key protectors.
var ErrWrongKey = errors.New("this password, recovery password or startup key opens none of its key protectors")

// UnsupportedError says that the metadata are whole and that what they describe is not read.
type UnsupportedError struct{ What string }

func (e *UnsupportedError) Error() string { return e.What }

func unsupported(format string, args ...any) error {
	return &UnsupportedError{fmt.Sprintf(format, args...)}
}

// CorruptError says what is wrong with the metadata and where.
type CorruptError struct {
	Off  int64 // bytes from the volume's start
	What string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("the BitLocker metadata at %d are damaged: %s", e.Off, e.What)
}

func corrupt(off int64, format string, args ...any) error {
	return &CorruptError{off, fmt.Sprintf(format, args...)}
}

func orEOF(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
