package clusters

import (
	"fmt"
	"io"
	"iter"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/lately"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// EntrySize is how many bytes each entry of a folder has.
const EntrySize = 32

const (
	folderRead = 64 << 10
	entryPiece = 4 << 10 // what is read around an entry
	noMore     = 0       // the first byte of an entry after the last
)

// Entries reads entries of folders. It may be used by several goroutines.
type Entries struct {
	r    io.ReaderAt
	kept *lately.Cache[int64, []byte] // pieces of the volume by their place
}

// NewEntries reads those of a volume, and keeps so many bytes of them.
func NewEntries(r io.ReaderAt, memory int64) *Entries {
	return &Entries{r, lately.New[int64, []byte](memory)}
}

// Entry is one entry of a folder.
type Entry struct {
	B  []byte // hold until the next one
	At int64  // of the volume
}

// Of yields the entries of a folder that lies in these parts, up to its end. An error is the last.
func (s *Entries) Of(folder uint64, parts iter.Seq2[tree.Extent, error]) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		buf := make([]byte, folderRead)
		for part, err := range parts {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for end := part.Off + part.Len; part.Off < end; part.Off += folderRead {
				b := buf[:min(end-part.Off, folderRead)]
				if err := tree.ReadFull(s.r, b, part.Off); err != nil {
					yield(Entry{}, fmt.Errorf("folder %d at %d of the volume: %w", folder, part.Off, err))
					return
				}
				for i := 0; i+EntrySize <= len(b); i += EntrySize {
					if b[i] == noMore || !yield(Entry{b[i : i+EntrySize], part.Off + int64(i)}, nil) {
						return
					}
				}
			}
		}
	}
}

// Read reads entries that lie at an offset of the volume; those around them are kept, since their turn is next.
func (s *Entries) Read(p []byte, at int64) error {
	for len(p) > 0 {
		begin := at / entryPiece * entryPiece
		piece, ok := s.kept.Get(begin)
		if !ok {
			piece = make([]byte, entryPiece)
			n, err := s.r.ReadAt(piece, begin)
			if int64(n) <= at-begin {
				if err == nil || err == io.EOF || err == io.ErrUnexpectedEOF {
					err = tree.Short(at, int64(len(p)))
				}
				return fmt.Errorf("entry at %d of the volume: %w", at, err)
			}
			if piece = piece[:n]; n == entryPiece {
				s.kept.Put(begin, piece, entryPiece)
			}
		}
		n := copy(p, piece[at-begin:])
		p, at = p[n:], at+int64(n)
	}
	return nil
}
