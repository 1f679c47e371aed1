package image

import (
	"fmt"
	"os"
	"strings"
)

// Spec names an image and says how it may be opened.
type Spec struct {
	Path string
	// Format is raw or qcow2. When it is empty the image is taken for raw, and
	// refused if it looks like something else: nothing is probed.
	Format string
	// Backing are the folders in which backing files may lie, links resolved.
	// A header that names a file elsewhere is refused.
	Backing []string
	// AllowInUse opens an image that somebody else writes to. What is read then
	// is not from one moment.
	AllowInUse bool
	// Bitmap is a dirty bitmap in a qcow2 image: what it does not mark is of kind Same. Where it is
	// not to be believed the image is opened without, and [Image.Doubt] says why.
	Bitmap string

	// Files are the image and then its backing files, each after the one that names it, open for reading: what
	// somebody opened whose rights are not ours. Nothing is opened by name then, Path is only what the image is
	// called, and Backing means nothing. They stay the caller's, who closes them after the Image.
	Files []*os.File

	held bool // by this process: its locks are ours
}

// ParseSpec reads "IMAGE[,format=raw|qcow2][,backing=DIR]...". A comma within a
// path is written twice.
func ParseSpec(s string) (Spec, error) {
	parts := splitCommas(s)
	spec := Spec{Path: parts[0]}
	if spec.Path == "" {
		return Spec{}, fmt.Errorf("image %q: no path", s)
	}
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, "=")
		switch {
		case key != "format" && key != "backing":
			return Spec{}, fmt.Errorf("image %q: unknown option %q: there are format=raw|qcow2 and backing=DIR (a comma within a path is written twice)", s, part)
		case value == "":
			return Spec{}, fmt.Errorf("image %q: option %s has no value", s, key)
		case key == "backing":
			spec.Backing = append(spec.Backing, value)
		case spec.Format != "":
			return Spec{}, fmt.Errorf("image %q: two formats", s)
		default:
			spec.Format = value
		}
	}
	if err := checkFormat(spec.Format); err != nil {
		return Spec{}, fmt.Errorf("image %q: %w", s, err)
	}
	return spec, nil
}

// splitCommas splits at single commas and halves double ones.
func splitCommas(s string) []string {
	parts := []string{""}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != ',':
			parts[len(parts)-1] += s[i : i+1]
		case strings.HasPrefix(s[i:], ",,"):
			parts[len(parts)-1] += ","
			i++
		default:
			parts = append(parts, "")
		}
	}
	return parts
}

func checkFormat(format string) error {
	switch format {
	case "", formatRaw, formatQcow2:
		return nil
	}
	return fmt.Errorf("format %q is not read: raw and qcow2 are; convert it (qemu-img convert -O qcow2)", format)
}

// The formats of images, as [Image.Format] gives them.
const (
	formatRaw   = "raw"
	formatQcow2 = "qcow2"
	formatBlock = "block" // a block device, read as it is
)
