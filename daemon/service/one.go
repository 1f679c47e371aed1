package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// OneVault is a vault that is opened and left again for each operation, as commands do
// without a daemon. Whatever is asked for, it is that one.
type OneVault struct {
	Path string
	// Options say how it is opened for reading, and, with the rest, for writing: how long another process is
	// waited for, how much stays free, and so on.
	Options blockstore.OwnOptions
	// Say is told in a line whose the vault is, where it is not simply this host's; nil: nobody. That is no
	// doubt about what is read.
	Say func(string)
	// Warn is told what went wrong after an operation was done; nil: nobody.
	Warn func(string)
}

// List returns the vault.
func (o *OneVault) List(context.Context) ([]Known, error) { return []Known{{Path: o.Path}}, nil }

// Find returns the vault.
func (o *OneVault) Find(context.Context, string) (Known, error) { return Known{Path: o.Path}, nil }

// Read opens the vault and does that.
func (o *OneVault) Read(ctx context.Context, _ string, do func(*blockstore.Vault) error) error {
	v, err := blockstore.Open(ctx, o.Path, o.Options.Options)
	if err != nil {
		return OrUnreachable(o.Path, err)
	}
	defer v.Close()
	// Who wrote it matters to nobody who only reads: what cannot be told is not said.
	if st, err := v.Standing(); err == nil && st.String() != "" && o.Say != nil {
		o.Say(fmt.Sprintf("warning: %v", st))
	}
	return do(v)
}

// Lasting is Read: nobody needs this vault of another.
func (o *OneVault) Lasting(ctx context.Context, vault string, do func(context.Context, *blockstore.Vault) error) error {
	return o.Read(ctx, vault, func(v *blockstore.Vault) error { return do(ctx, v) })
}

// Own opens the vault for writing, does that, and leaves it.
func (o *OneVault) Own(ctx context.Context, _ string, to Purpose, do func(*blockstore.Owner) error) error {
	options, state := o.Options, "nothing was changed"
	options.Hung = nil // do gets an error instead
	switch to {
	case ToStore:
		state = "nothing was stored"
	case ToForget:
		options.Reclaim, options.MinFree = true, 0
	case ToNote:
		options.MinFree, options.Wait, options.Waiting = -1, 0, nil
	case ToChange:
	}
	owner, err := blockstore.Own(ctx, o.Path, options)
	if to == ToStore && errors.Is(err, blockstore.ErrFull) {
		err = o.whatHelps(ctx, err)
	}
	if err != nil {
		return leaving(ctx, OrUnreachable(o.Path, err), state)
	}
	err = do(owner)
	if closed := owner.Close(); closed != nil && err == nil && o.Warn != nil {
		done := "it was done"
		if to == ToStore {
			done = "the point was made"
		}
		o.Warn(fmt.Sprintf("%s, but leaving the vault failed: %v", done, closed))
	}
	return err
}

func (o *OneVault) whatHelps(ctx context.Context, err error) error {
	open := o.Options.Options
	open.Warn = nil
	v, e := blockstore.Open(ctx, o.Path, open)
	if e != nil {
		return err
	}
	defer v.Close()
	return whatHelps(ctx, v, err)
}
