package restore

import (
	"bytes"
	"context"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// memoryDisk is a configuration file, restored like a disk so that it gets all
// that files are promised.
type memoryDisk struct {
	name string
	data []byte
}

func (m memoryDisk) Info() blockstore.DiskInfo { return blockstore.DiskInfo{Name: m.name} }
func (m memoryDisk) Size() int64               { return int64(len(m.data)) }
func (m memoryDisk) BlockSize() int            { return grain }

func (m memoryDisk) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.data).ReadAt(p, off)
}

func (m memoryDisk) Extents(_ context.Context, off, length int64, fn func(blockstore.Extent) error) error {
	if length == 0 {
		return nil
	}
	return fn(blockstore.Extent{Offset: off, Length: length, Kind: blockstore.Data})
}
