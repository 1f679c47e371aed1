package image

import (
	"fmt"
	"path/filepath"
	"strings"
)

// maxChain is how many files an image may consist of.
const maxChain = 128

// layer is one file of an image and its format, which is never guessed.
type layer struct {
	*file
	format string // raw or qcow2
}

// openChain opens an image and, where it is qcow2, its backing files, top first.
func openChain(s Spec) (layers []layer, err error) {
	if len(s.Files) > 0 {
		return openHanded(s)
	}
	defer func() {
		if err != nil {
			closeAll(layers)
		}
	}()
	f, err := openFile(s.Path, func(string) error { return nil })
	if err != nil {
		return nil, err
	}
	top := layer{f, s.Format}
	layers = append(layers, top)
	if s.Format == "" {
		layers[0].format = formatRaw
		return layers, refuseDisguise(f, hintTop)
	}
	for at := layers[0]; at.format == formatQcow2; at = layers[len(layers)-1] {
		h, err := readHeader(at.f)
		if err != nil {
			return layers, fmt.Errorf("image %s: %w", at.path, err)
		}
		if h.backing == "" {
			return layers, nil
		}
		below, err := openBacking(at, h, s.Backing)
		if err != nil {
			return layers, err
		}
		layers = append(layers, below)
		if err := checkChain(layers); err != nil {
			return layers, err
		}
	}
	return layers, nil
}

func closeAll(layers []layer) {
	for _, l := range layers {
		l.f.Close()
	}
}

// checkChain refuses a chain that has become too long or bites its tail.
func checkChain(layers []layer) error {
	last := layers[len(layers)-1]
	if len(layers) > maxChain {
		return fmt.Errorf("image %s: more than %d backing files", layers[0].path, maxChain)
	}
	for _, l := range layers[:len(layers)-1] {
		if sameFile(&l.at, &last.at) {
			return fmt.Errorf("image %s: backing file %s is its own backing file", layers[0].path, last.path)
		}
	}
	return nil
}

// openBacking opens the backing file that a header names, if it may be followed.
func openBacking(above layer, h header, folders []string) (layer, error) {
	if err := checkBackingName(above.path, h); err != nil {
		return layer{}, err
	}
	path := strings.TrimPrefix(h.backing, "file:")
	if !filepath.IsAbs(path) {
		path = filepath.Dir(above.path) + "/" + path // as the kernel resolves it, links before ".."
	}
	allowed, err := within(folders, fmt.Sprintf("the backing file that %s names", above.path))
	if err != nil {
		return layer{}, err
	}
	f, err := openFile(path, allowed)
	if err != nil {
		return layer{}, fmt.Errorf("backing file of %s: %w", above.path, err)
	}
	below := layer{f, h.backingFormat}
	if below.format == "" {
		below.format = formatRaw
		err = refuseDisguise(f, hintBacking)
	}
	if err != nil {
		f.f.Close()
	}
	return below, err
}

// checkBackingName refuses names that are not paths, and formats that are not read.
func checkBackingName(image string, h header) error {
	colon, slash := strings.IndexByte(h.backing, ':'), strings.IndexByte(h.backing, '/')
	if colon >= 0 && (slash < 0 || colon < slash) && !strings.HasPrefix(h.backing, "file:") {
		return fmt.Errorf("image %s: its backing file %q is not a path: only local files are followed", image, h.backing)
	}
	if err := checkFormat(h.backingFormat); err != nil {
		return fmt.Errorf("image %s: its backing file %q: %w", image, h.backing, err)
	}
	return nil
}
