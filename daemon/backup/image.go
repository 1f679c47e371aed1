package backup

import (
	"context"
	"path/filepath"

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
	return FromImage(name, spec)
}

// FromImage makes a disk of an image.
func FromImage(name string, spec image.Spec) (Disk, error) {
	source, err := filepath.Abs(spec.Path)
	if err != nil {
		return Disk{}, err
	}
	return Disk{
		Name: name, Source: source, AllowInUse: spec.AllowInUse,
		Holds: func(path string) (bool, error) { return image.Holds(spec, path) },
		Open: func(ctx context.Context) (Image, error) {
			i, err := image.Open(ctx, spec)
			if err != nil {
				return nil, err // a nil *image.Image must not become an Image
			}
			return i, nil
		},
	}, nil
}
