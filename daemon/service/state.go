package service

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/backup"
)

// Words for the state of a machine whose VM cannot simply be asked.
const (
	StateGone    = "GONE (migrated?)"
	StateAnother = "ANOTHER VM"
	StateUnclear = "does not answer"
)

// statesOf asks the hosts what the VMs of machines do, several at a time and each for a few
// seconds at most. Machines that are not protected have no state.
func statesOf(ctx context.Context, machines []blockstore.Machine) []string {
	states := make([]string, len(machines))
	var g errgroup.Group
	g.SetLimit(8)
	for i, m := range machines {
		if m.Protected == nil {
			continue
		}
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			states[i] = stateOf(ctx, m)
			return nil
		})
	}
	g.Wait()
	return states
}

func stateOf(ctx context.Context, m blockstore.Machine) string {
	vm, err := backup.Reaching{}.Open(ctx, m.Protected)
	if errors.Is(err, backup.ErrGone) {
		return StateGone
	}
	if err != nil {
		return StateUnclear
	}
	defer vm.Close()
	if m.Protected.Kind() == blockstore.KindImages && noneIsThere(m.Protected.Images) {
		return StateGone
	}
	facts, err := vm.Facts(ctx)
	if err != nil {
		return StateUnclear
	}
	if _, err := backup.Identify(m.Name, m.Protected.VM, facts.VM); err != nil {
		return StateAnother
	}
	return facts.Status
}

// noneIsThere tells whether no image lies where it did.
func noneIsThere(images []blockstore.ImageDisk) bool {
	return !slices.ContainsFunc(images, func(i blockstore.ImageDisk) bool {
		_, err := os.Stat(i.Path)
		return !errors.Is(err, fs.ErrNotExist)
	})
}
