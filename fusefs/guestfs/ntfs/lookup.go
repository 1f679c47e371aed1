package ntfs

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

const (
	maxDepth  = 32   // of a folder's tree; 100 million names have 5
	maxVisits = 1024 // blocks for one name: many only where names differ by case alone
)

// Lookup finds a name, as it is written or, if there is none, in any case; short
// (DOS) names as well. It goes down the folder's tree; where that is damaged it
// looks at every name.
func (v *volume) Lookup(dir uint64, name string) (uint64, error) {
	n, err := v.resolve(dir)
	if err != nil {
		return 0, err
	}
	x, err := v.index(n)
	if err != nil {
		return 0, err
	}
	units := wtf8.Encode(name)
	s := &search{x: x, units: units, folded: v.upper.fold(units)}
	err = s.node(x.root, 0)
	if err != nil && !s.exact {
		err = errors.Join(err, s.everywhere())
	}
	switch {
	case s.found != nil && !hidden(s.found.ref):
		return s.found.ref, x.checkParent(s.found.fileName)
	case err != nil:
		return 0, err
	}
	return 0, fmt.Errorf("%q in %s: %w", name, n, fs.ErrNotExist)
}

// search is one look-up in a folder.
type search struct {
	x      *index
	units  []uint16 // the name
	folded []uint16 // in upper case
	found  *indexEntry
	exact  bool // found has the very name
	visits int
}

// offer takes an entry whose name in upper case is the one sought.
func (s *search) offer(e indexEntry) {
	s.exact = same(e.raw, s.units)
	if s.exact || s.found == nil || s.found.space == spaceDOS && e.space != spaceDOS {
		s.found = &e
	}
}

// node searches a node and what is below it. Names that differ by case alone
// lie side by side, with what is below them in between.
func (s *search) node(node []byte, depth int) error {
	for e, err := range s.x.entries(node) {
		if err != nil {
			return err
		}
		order := 1
		if !e.last {
			order = s.x.v.upper.compare(e.raw, s.folded)
		}
		if order < 0 {
			continue
		}
		if e.child >= 0 {
			if err := s.child(e.child, depth+1); err != nil || s.exact {
				return err
			}
		}
		if order > 0 {
			return nil
		}
		if s.offer(e); s.exact {
			return nil
		}
	}
	return nil
}

func (s *search) child(number int64, depth int) error {
	s.visits++
	blocks := s.x.blocks
	if blocks == nil || depth > maxDepth || s.visits > maxVisits || number > blocks.size/s.x.scale ||
		number*s.x.scale%s.x.block != 0 || number*s.x.scale+s.x.block > blocks.size {
		return &tree.CorruptError{What: s.x.n.String(), Why: fmt.Sprintf("its index leads to block %d at depth %d", number, depth), At: s.x.n.at}
	}
	node, err := s.x.node(number * s.x.scale)
	if err != nil {
		return err
	}
	return s.node(node, depth)
}

// everywhere looks at every name of the folder.
func (s *search) everywhere() error {
	for e, err := range s.x.all() {
		if err != nil {
			return err
		}
		if s.x.v.upper.compare(e.raw, s.folded) == 0 {
			if s.offer(e); s.exact {
				break
			}
		}
	}
	return nil
}

// checkParent makes damage of an entry that belongs to another folder.
func (x *index) checkParent(name fileName) error {
	if parent := name.parent & numberMask; parent != x.n.number {
		return &tree.CorruptError{What: fmt.Sprintf("the entry %q of %s", wtf8.Decode(name.raw), x.n), At: x.n.at,
			Why: fmt.Sprintf("it says that it is of folder %d", parent)}
	}
	return nil
}

// hidden reports whether a reference is to one of the files that NTFS keeps for itself.
func hidden(ref uint64) bool { return ref&numberMask < firstUserFile }
