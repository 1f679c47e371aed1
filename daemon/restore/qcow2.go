package restore

import (
	"bytes"
	"fmt"
)

// qcow2File is a qcow2 file whose layout is known before anything is written, so
// that workers write its clusters in any order.
type qcow2File struct {
	*tempFile
	layout *layout
}

func createQcow2(final string, l *layout, opt fileOptions) (*qcow2File, error) {
	t, err := createTemp(final, l.clusters()<<clusterBits, opt)
	if err != nil {
		return nil, err
	}
	err = l.metadata(func(p []byte, off int64) error {
		_, err := writeSparse(t, p, off)
		return err
	})
	if err != nil {
		t.Abort()
		return nil, fmt.Errorf("write the tables of %s: %w", final, err)
	}
	return &qcow2File{t, l}, nil
}

// WriteAt writes p but for the zeros in it.
func (q *qcow2File) WriteAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		at, n, mapped := q.layout.find(off+int64(done), int64(len(p)-done))
		part := p[done : done+int(n)]
		if !mapped {
			return done, fmt.Errorf("offset %d has no cluster: the disk's map changed since it was first read", off+int64(done))
		}
		if m, err := writeSparse(q.tempFile, part, at); err != nil {
			return done + m, err
		}
		done += len(part)
	}
	return done, nil
}

// ReadAt reads bytes of the disk.
func (q *qcow2File) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		at, n, mapped := q.layout.find(off+int64(done), int64(len(p)-done))
		part := p[done : done+int(n)]
		if !mapped {
			clear(part)
		} else if err := readFull(q.File, part, at); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}

// BeginVerify compares the file's header and tables with what was written.
func (q *qcow2File) BeginVerify() error {
	if err := dropCache(q.File); err != nil {
		return err
	}
	got := make([]byte, clusterSize)
	return q.layout.metadata(func(want []byte, off int64) error {
		if err := readFull(q.File, got[:len(want)], off); err != nil {
			return fmt.Errorf("read back the tables: %w", err)
		}
		if !bytes.Equal(want, got[:len(want)]) {
			return &MismatchError{Offset: -1, What: fmt.Sprintf("the qcow2 tables at %d of the file are not those written", off)}
		}
		return nil
	})
}

// Hole is known from the layout.
func (q *qcow2File) Hole(off, length int64) int64 {
	at, n, mapped := q.layout.find(off, length)
	if mapped {
		return holeIn(q.File, at, n)
	}
	return n
}
