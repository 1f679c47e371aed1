package tree

import (
	"errors"
	"fmt"
	"io"
)

// ReadFull fills p from an offset of a volume, or fails: a volume that ends sooner is damage, a *CorruptError
// that is Short. Readers that say io.EOF with their last byte are right to.
func ReadFull(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	switch short := Short(at, int64(len(p))); {
	case err == nil, err == io.EOF, err == io.ErrUnexpectedEOF:
		return short
	case errors.Is(err, io.ErrUnexpectedEOF): // of what the volume lies in
		return fmt.Errorf("%w: %w", short, err)
	}
	return err
}

// Short is the error of a volume that ends before so many bytes at an offset of it, which belong to it.
func Short(at, length int64) *CorruptError {
	return &CorruptError{What: "the volume", Why: "it ends too early", At: at, Short: length}
}
