package backup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/blockstore"
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

// ParseHanded is ParseImage where the image and its backing files are open already: see image.Spec.
// They are to stay open until the run is over.
func ParseHanded(name, text string, allowInUse bool, files []*os.File) (Disk, error) {
	spec, err := image.ParseSpec(text)
	if err != nil {
		return Disk{}, err
	}
	spec.AllowInUse, spec.Backing, spec.Files = allowInUse, nil, files
	d := diskOf(name, spec.Path, spec)
	link := fmt.Sprintf("/proc/self/fd/%d", files[0].Fd())
	if d.At, err = os.Readlink(link); err != nil {
		d.At = link
	}
	return d, nil
}

// FromImage makes a disk of an image.
func FromImage(name string, spec image.Spec) (Disk, error) {
	source, err := filepath.Abs(spec.Path)
	if err != nil {
		return Disk{}, err
	}
	return diskOf(name, source, spec), nil
}

// ParseImageDisk reads the same for the record of a machine: with paths that hold in
// any folder.
func ParseImageDisk(name, text string) (blockstore.ImageDisk, error) {
	spec, err := image.ParseSpec(text)
	if err != nil {
		return blockstore.ImageDisk{}, err
	}
	d := blockstore.ImageDisk{Name: name, Format: spec.Format}
	if d.Path, err = filepath.Abs(spec.Path); err != nil {
		return d, err
	}
	for _, b := range spec.Backing {
		if b, err = filepath.Abs(b); err != nil {
			return d, err
		}
		d.Backing = append(d.Backing, b)
	}
	return d, nil
}

// diskOf is a disk that an image holds.
func diskOf(name, source string, spec image.Spec) Disk {
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
		OpenTracked: func(ctx context.Context, bitmap string) (Image, string, error) {
			tracked := spec
			tracked.Bitmap = bitmap
			i, err := image.Open(ctx, tracked)
			if err != nil {
				return nil, "", err
			}
			return i, i.Doubt(), nil
		},
	}
}
