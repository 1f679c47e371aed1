package restore

import (
	"bytes"
	"io"
)

// grain is the size and alignment of the zeros that are left out of files: the
// unit in which file systems allocate.
const grain = 4096

// zeroes is all zero.
var zeroes [window]byte

// rawFile is a sparse file that holds the bytes of the disk.
type rawFile struct{ *tempFile }

func createRaw(final string, size int64, opt fileOptions) (*rawFile, error) {
	t, err := createTemp(final, size, opt)
	if err != nil {
		return nil, err
	}
	return &rawFile{t}, nil
}

// WriteAt writes p but for the zeros in it.
func (r *rawFile) WriteAt(p []byte, off int64) (int, error) { return writeSparse(r.tempFile, p, off) }

// BeginVerify drops what was written from memory.
func (r *rawFile) BeginVerify() error { return dropCache(r.File) }

// Hole asks the file system.
func (r *rawFile) Hole(off, length int64) int64 { return holeIn(r.File, off, length) }

// writeSparse writes p to a part of a file that was never written, leaving out
// whole grains of zeros.
func writeSparse(w io.WriterAt, p []byte, off int64) (int, error) {
	for pos := 0; pos < len(p); {
		end, zero := grains(p, pos, off)
		if !zero {
			if n, err := w.WriteAt(p[pos:end], off+int64(pos)); err != nil {
				return pos + n, err
			}
		}
		pos = end
	}
	return len(p), nil
}

// grains finds where the run of grains that are all zero, or are all not, ends that
// begins at pos in p; p lies at off in the file.
func grains(p []byte, pos int, off int64) (end int, zero bool) {
	end = pos
	for end < len(p) {
		next := min(len(p), end+grain-int((off+int64(end))%grain))
		z := bytes.Equal(p[end:next], zeroes[:next-end])
		if end == pos {
			zero = z
		} else if z != zero {
			break
		}
		end = next
	}
	return end, zero
}
