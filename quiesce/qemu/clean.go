package qemu

import (
	"context"
	"errors"
)

// Leftover is something of ours in QEMU or in the scratch folder that no run needs.
type Leftover struct {
	Kind string // export, server, job, node, bitmap, folder
	Name string
	Disk string // of a bitmap: the node that it is on
}

// CleanRequest says what is left after cleaning.
type CleanRequest struct {
	Vault   string // whose bitmaps are removed; empty: none are touched
	Keep    string // bitmap that stays: that of the vault's latest point of the machine; empty: none
	Scratch ScratchOptions
}

// Leftovers lists what Clean would remove.
func (m *Machine) Leftovers(ctx context.Context, q CleanRequest) ([]Leftover, error) {
	return nil, errors.New("not built yet")
}

// Clean removes what runs that died left behind, and returns what it removed. What
// others made, bitmaps of other vaults among it, is not touched. Errors: ErrBusy
// while a run works on the machine.
func (m *Machine) Clean(ctx context.Context, q CleanRequest) ([]Leftover, error) {
	return nil, errors.New("not built yet")
}
