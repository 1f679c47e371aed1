package catalogue

import (
	"context"
	"fmt"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// Coverage says which of a machine's points have a catalogue.
type Coverage struct {
	Points  []*blockstore.Point // that were asked about, in their order
	Chains  map[blockstore.PointID]blockstore.Catalogues
	Missing []*blockstore.Point // of Points
}

// Look finds out which points of one machine have a catalogue. It opens none.
func Look(v Vault, machine blockstore.MachineID, points []*blockstore.Point) (*Coverage, error) {
	all, err := v.Catalogues(machine)
	if err != nil {
		return nil, fmt.Errorf("look for catalogues: %w", err)
	}
	c := &Coverage{Points: slices.Clone(points), Chains: all.Chains()}
	slices.SortStableFunc(c.Points, func(p, q *blockstore.Point) int { return p.Compare(q) })
	c.settle()
	return c, nil
}

func (c *Coverage) settle() {
	c.Missing = nil
	for _, p := range c.Points {
		if c.Chains[p.ID] == nil {
			c.Missing = append(c.Missing, p)
		}
	}
}

// without takes a catalogue that cannot be used out, and all that build on it.
func (c *Coverage) without(bad blockstore.CatalogueID) {
	for point, chain := range c.Chains {
		if slices.ContainsFunc(chain, func(one blockstore.Catalogue) bool { return one.ID == bad }) {
			delete(c.Chains, point)
		}
	}
	c.settle()
}

// Check tells whether a catalogue can be used, by reading all of it. What cannot be used is an error that
// wraps [blockstore.ErrCatalogue].
func Check(ctx context.Context, v Vault, c blockstore.Catalogue) error {
	if err := eachEntry(ctx, v, c, func(*Entry) error { return nil }); err != nil {
		return err
	}
	_, err := Show(v, blockstore.Catalogues{c})
	return err
}

// Info is what a catalogue says of itself.
type Info struct {
	Head
	Summary
	Size   int64 // bytes in the vault, of this one alone
	Chain  int   // catalogues that it takes to read it
	Whole  bool
	Frames int
}

// Show reads what the catalogue of a point says of itself: the last of a chain.
func Show(v Vault, chain blockstore.Catalogues) (*Info, error) {
	last := chain[len(chain)-1]
	t, h, err := openFile(v, last)
	if err != nil {
		return nil, err
	}
	defer t.close()
	sum, err := t.summary()
	if err != nil {
		return nil, err
	}
	return &Info{Head: h, Summary: sum, Size: t.f.Size(), Chain: len(chain), Whole: last.Base.IsZero(), Frames: t.f.Frames()}, nil
}
