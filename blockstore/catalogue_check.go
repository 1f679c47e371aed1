package blockstore

import (
	"context"
	"errors"
	"fmt"
	"path"
)

// catalogues looks at every catalogue: at where its frames lie, with Data at what is in
// them. A catalogue that is no good harms no point.
func (c *checker) catalogues(ctx context.Context) error {
	machines, err := c.v.dir.List(cataloguesDir)
	if err != nil {
		return err
	}
	for _, m := range machines {
		if !hexID.MatchString(m) {
			continue
		}
		all, err := c.v.Catalogues(MachineID(m))
		if err != nil {
			c.fault(path.Join(cataloguesDir, m), err)
			continue
		}
		for _, one := range all {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !one.Base.IsZero() && !all.have(one.Base) {
				c.faultCatalogue(one, fmt.Errorf("what it builds on is gone: %w", ErrCatalogue))
				continue
			}
			if err := c.catalogue(ctx, one); err != nil {
				c.faultCatalogue(one, err)
			}
		}
	}
	return ctx.Err()
}

// faultCatalogue reports a catalogue, unless it was removed meanwhile.
func (c *checker) faultCatalogue(one Catalogue, err error) {
	if _, gone := c.v.dir.Size(one.path()); isNotExist(gone) || errors.Is(err, context.Canceled) {
		return
	}
	c.fault(one.path(), fmt.Errorf("%w; no point needs it, and the next run that builds catalogues makes it again", err))
}

func (c *checker) catalogue(ctx context.Context, one Catalogue) error {
	f, err := c.v.OpenCatalogue(one)
	if err != nil {
		return err
	}
	defer f.Close()
	if !c.o.Data || c.o.Percent > 0 {
		return nil
	}
	var buf []byte
	for i := range f.Frames() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if buf, err = f.Frame(i, buf); err != nil {
			return err
		}
	}
	return nil
}
