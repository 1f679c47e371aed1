package backup

import (
	"context"
	"errors"

	"github.com/holdfast-backup/holdfast/quiesce/image"
)

// ParseImage reads the image of a disk as people write it,
// IMAGE[,format=qcow2][,backing=DIR]; allowInUse lets it be read while somebody
// writes to it.
func ParseImage(name, text string, allowInUse bool) (Disk, error) {
	spec, err := image.ParseSpec(text)
	if err != nil {
		return Disk{}, err
	}
	spec.AllowInUse = allowInUse
	return Disk{
		Name:   name,
		Source: spec.Path,
		Open: func(ctx context.Context) (Image, error) {
			return nil, errors.ErrUnsupported
		},
	}, nil
}
