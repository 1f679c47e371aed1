package history

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// NotThereError says that there is nothing to compare: a path is in neither point, or the two paths are
// not the same and one of them is in its point no more than a slip of the pen is. Where one path is in one
// of the points alone that is a difference, and no error. It wraps fs.ErrNotExist.
type NotThereError struct {
	Lacking []Side // that have nothing at their paths: one, or both
	Other   *Side  // the one that has; nil where both lack it

	// Name is what was looked for in Folder, which is there at the last of Lacking, and which holds
	// Names, or the first of them. Empty where that is not known.
	Name, Folder string
	Names        []string

	absent error
}

func (e *NotThereError) Error() string {
	a := e.Lacking[0]
	switch b := e.Lacking[len(e.Lacking)-1]; {
	case e.Other != nil:
		return fmt.Sprintf("%s is not in %s, while %s is in %s: %v", a.place(), a.at(), e.Other.place(), e.Other.at(), fs.ErrNotExist)
	case a.place() != b.place():
		return fmt.Sprintf("%s is not in %s, and %s is not in %s: %v", a.place(), a.at(), b.place(), b.at(), fs.ErrNotExist)
	case a.Point.ID == b.Point.ID:
		return fmt.Sprintf("%s is not in %s: %v", a.place(), a.at(), fs.ErrNotExist)
	default:
		return fmt.Sprintf("%s is neither in %s nor in %s: %v", a.place(), a.at(), b.at(), fs.ErrNotExist)
	}
}

// Unwrap returns why nothing is there, as an fs.ErrNotExist.
func (e *NotThereError) Unwrap() []error { return []error{e.absent, fs.ErrNotExist} }

func (s *Side) at() string { return s.Point.MachineName + "@" + s.Point.Label() }

func (s *Side) place() string {
	p := text(s.Path)
	if s.Volume != "" {
		p = s.Volume + ":" + p
	}
	return p
}

// samePath tells whether two paths are one, as Linux or Windows writes it.
func samePath(a, b string) bool {
	plain := func(p string) string { return path.Clean("/" + strings.ReplaceAll(p, `\`, "/")) }
	return plain(a) == plain(b)
}

// maxNear is how many names of a folder are offered for one that is not there.
const maxNear = 2000

// notThere is the error where a, b or both are nil.
func (d *differ) notThere(a, b *node) error {
	e := &NotThereError{}
	var last *half
	for _, t := range []struct {
		*half
		n *node
	}{{&d.a, a}, {&d.b, b}} {
		if t.n != nil {
			e.Other = &t.half.Side
			continue
		}
		e.Lacking, e.absent, last = append(e.Lacking, t.half.Side), t.half.absent, t.half
	}
	var absent *guestfs.AbsentError
	if !errors.As(e.absent, &absent) {
		return e
	}
	folder, err := last.view.Resolve(absent.Folder)
	if err != nil {
		return e
	}
	e.Name, e.Folder = absent.Name, folder.Path
	for c, err := range folder.Children() {
		if err != nil || len(e.Names) == maxNear {
			break
		}
		e.Names = append(e.Names, c.Name)
	}
	slices.Sort(e.Names)
	return e
}
