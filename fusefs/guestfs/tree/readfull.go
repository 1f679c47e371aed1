package tree

import "io"

// ReadFull fills p from an offset of r, or fails: where r ends sooner with io.ErrUnexpectedEOF. Readers
// that say io.EOF with their last byte are right to.
func ReadFull(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
