package libvirt

import (
	"context"
	"errors"

	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// Leftover is something of ours that a run that died has left behind.
type Leftover struct {
	Kind string // job, checkpoint, bitmap, scratch, or what qemu's Leftovers say
	Name string
}

// Leftovers lists what is left of runs for a vault; for all vaults where vault is empty. Checkpoints
// that a vault still counts from are among them: keep names them.
func (d *Domain) Leftovers(ctx context.Context, vault string, o qemu.ScratchOptions) ([]Leftover, error) {
	return nil, errors.New("not built yet")
}

// Clean removes what Leftovers lists, but the checkpoints and bitmaps named by keep. It works on
// domains that are off, too, whose checkpoints would keep virsh from undefining them.
func (d *Domain) Clean(ctx context.Context, vault string, keep []string, o qemu.ScratchOptions) ([]Leftover, error) {
	return nil, errors.New("not built yet")
}
