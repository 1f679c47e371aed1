package history

import (
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// run is what a call keeps count of.
type run struct {
	keys       *guestfs.Keys
	reads      blockstore.Reads
	diskBlocks int64
	blockSize  int64
	opened     int
	began      time.Time
}

func newRun(v *blockstore.Vault, keys *guestfs.Keys) *run {
	return &run{keys: keys, blockSize: int64(v.Info().BlockSize), began: time.Now()}
}

// count adds the disks of a point to what there is to read.
func (r *run) count(p *blockstore.Point) {
	for _, d := range p.Disks {
		r.diskBlocks += (d.Size + r.blockSize - 1) / r.blockSize
	}
}

func (r *run) open(v *blockstore.Vault, p *blockstore.Point) *look {
	r.opened++
	return newLook(v, p, r.keys, &r.reads)
}

func (r *run) cost() api.ReadCost {
	return api.ReadCost{Blocks: r.reads.Blocks.Load(), Pages: r.reads.Pages.Load(), DiskBlocks: r.diskBlocks,
		BlockSize: r.blockSize, Opened: r.opened, Seconds: time.Since(r.began).Seconds()}
}
