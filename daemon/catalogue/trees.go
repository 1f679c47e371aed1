package catalogue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// NoTreeError says that a search was about a volume that none of the points it looked at lists by itself.
type NoTreeError struct {
	Volume string
	Points int      // that were looked at
	Trees  []string // volumes that they list by themselves, sorted
	Root   bool     // the guest's root is listed, too
	Inside string   // where the volume is in another tree, as [Shown] has it; "": in none
}

func (e *NoTreeError) Error() string {
	text := fmt.Sprintf("none of the points that were searched (%d) lists files of a volume %s", e.Points, e.Volume)
	if e.Inside != "" {
		return text + " by itself: it is a part of the guest, at " + e.Inside
	}
	has := slices.Clone(e.Trees)
	if e.Root {
		has = append([]string{"the guest's root"}, has...)
	}
	if len(has) == 0 {
		return text + ", or of any"
	}
	if more := len(has) - maxTreesTold; more > 0 {
		has = append(has[:maxTreesTold], fmt.Sprintf("%d more", more))
	}
	return text + "; they list " + strings.Join(has, ", ")
}

// maxTreesTold bounds a message.
const maxTreesTold = 20

// volume returns a *NoTreeError where none of the points that were looked at lists the tree that is asked for. A
// search that found something needs not ask.
func (s *search) volume(ctx context.Context) error {
	if s.q.AllOf || s.q.Volume == "" || s.out.Hits > 0 || len(s.points) == 0 {
		return nil
	}
	e, trees := &NoTreeError{Volume: s.q.Volume, Points: len(s.points)}, map[string]bool{}
	for _, p := range slices.Backward(s.points) {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := Show(s.v, s.c.Chains[p.point.ID])
		if errors.Is(err, blockstore.ErrCatalogue) {
			return nil // who knows
		}
		if err != nil {
			return err
		}
		if e.look(&info.Summary, trees) {
			return nil
		}
	}
	for name := range trees {
		e.Trees = append(e.Trees, name)
	}
	slices.Sort(e.Trees)
	return e
}

// look tells whether a summary knows the volume as a tree, or could not look into it.
func (e *NoTreeError) look(sum *Summary, trees map[string]bool) bool {
	for _, u := range sum.Unread {
		if below(u.Key, []byte(e.Volume)) {
			return true
		}
	}
	for _, t := range sum.Trees {
		if t.Name == e.Volume {
			return true
		}
		if t.Name == "" {
			e.Root = true
		} else {
			trees[t.Name] = true
		}
		for _, m := range t.Volumes {
			if m.Volume == e.Volume && e.Inside == "" {
				tree, path := splitKey(bytes.Clone(m.Key))
				e.Inside = Shown(tree, path)
			}
		}
	}
	return false
}
