package blockstore

import (
	"context"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// MaxConfig is the largest file of a configuration, in bytes.
const MaxConfig = 256 << 20

// maxBlob is how much of a configuration file one blob holds.
const maxBlob = pack.MaxContent

// ReadConfig returns one file of a point's configuration.
func (v *Vault) ReadConfig(ctx context.Context, p *Point, name string) ([]byte, error) {
	for _, c := range p.Config {
		if c.Name == name {
			return v.readConfig(ctx, p, c)
		}
	}
	return nil, fmt.Errorf("configuration %s of point %s@%s: %w", name, p.MachineName, p.ID, ErrNotFound)
}

func (v *Vault) readConfig(ctx context.Context, p *Point, c ConfigBlob) ([]byte, error) {
	var data []byte
	for _, id := range c.Parts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		part, err := v.readWhole(content.Blob, id)
		if err != nil {
			return nil, &CorruptError{Machine: p.MachineName, Point: p.ID, Disk: "config/" + c.Name,
				Offset: int64(len(data)), Length: c.Size - int64(len(data)), Err: err}
		}
		data = append(data, part...)
	}
	if int64(len(data)) != c.Size {
		return nil, fmt.Errorf("configuration %s of point %s@%s has %d bytes, its point says %d", c.Name, p.MachineName, p.ID, len(data), c.Size)
	}
	return data, nil
}
