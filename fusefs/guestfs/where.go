package guestfs

import (
	"errors"
	"fmt"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/bitlocker"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/luks"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/lvm"
)

// Span is a part of a disk that a part of a volume is made of, with others in order, and
// of nothing else. It may be longer: of what is encrypted whole sectors are needed.
type Span struct {
	Disk     int   // its number among those that the guest was opened with
	Off, Len int64 // bytes

	// How names what is done to the bytes before they are the volume's: "" nothing. Two
	// spans with the same bytes give the same if How is the same. One of no bytes stands for
	// zeros, and How for how many.
	How string
}

// numbered is a disk that knows its number: what all readers of volumes come down to.
type numbered struct {
	io.ReaderAt
	number int
}

// maxSpans bounds how many spans a part of a volume is said to have.
const maxSpans = 1 << 20

var errSpans = errors.New("too many pieces")

// Where tells on which parts of the disks a part of the volume lies, in order. false:
// that is not known, since it is put together from several places (RAID 5), or where
// they lie is itself on the disk (thin volumes).
func (v *Volume) Where(off, n int64) ([]Span, bool) {
	if v.err != nil || off < 0 || n < 0 || off > v.Size-n {
		return nil, false
	}
	var spans []Span
	err := where(v.r, off, n, "", 0, func(s Span) error {
		if last := len(spans) - 1; last >= 0 && spans[last].Disk == s.Disk && spans[last].How == s.How && s.How == "" &&
			spans[last].Off+spans[last].Len == s.Off {
			spans[last].Len += s.Len
			return nil
		}
		if len(spans) == maxSpans {
			return errSpans
		}
		spans = append(spans, s)
		return nil
	})
	return spans, err == nil
}

var errNotKnown = errors.New("where it lies is not known")

// where goes down from a reader to the disks.
func where(r io.ReaderAt, off, n int64, how string, depth int, add func(Span) error) error {
	if depth > 2*maxLayers {
		return errNotKnown
	}
	switch r := r.(type) {
	case *numbered:
		return add(Span{r.number, off, n, how})
	case *io.SectionReader:
		outer, from, size := r.Outer()
		if off+n > size {
			return errNotKnown
		}
		return where(outer, from+off, n, how, depth+1, add)
	case *luks.Volume:
		below, at, length, key := r.Below(off, n)
		return where(below, at, length, how+key, depth+1, add)
	case *bitlocker.Volume:
		for n > 0 {
			below, at, length, run, key, ok := r.Below(off, n)
			switch {
			case !ok:
				return errNotKnown
			case below == nil:
				if err := add(Span{How: fmt.Sprintf("%s%d zeros;", how, run)}); err != nil {
					return err
				}
			default:
				if err := where(below, at, length, how+key, depth+1, add); err != nil {
					return err
				}
			}
			off, n = off+run, n-run
		}
		return nil
	case *lvm.Volume:
		for n > 0 {
			below, at, run, ok := r.Below(off)
			if run = min(run, n); !ok || run <= 0 {
				return errNotKnown
			}
			if err := where(below, at, run, how, depth+1, add); err != nil {
				return err
			}
			off, n = off+run, n-run
		}
		return nil
	}
	return errNotKnown
}
