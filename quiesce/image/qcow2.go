package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// header is what is needed of a qcow2 image's header to open it without
// letting it name other files. The format is described at
// https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.rst.
type header struct {
	backing       string    // name of the backing file, "" when there is none
	backingFormat string    // "" when the header does not say
	bitmaps       directory // of none where they are not to be believed
}

// Numbers of the format.
const (
	minClusterBits, maxClusterBits = 9, 21
	maxBackingName                 = 1023
	headerLengthV2, headerMinV3    = 72, 104

	incompatCorrupt  = 1 << 1
	incompatDataFile = 1 << 2
	incompatKnown    = 1<<5 - 1 // dirty, corrupt, data file, compression type, extended L2

	extEnd           = 0
	extBackingFormat = 0xe2792aca
	extDataFile      = 0x44415441
)

// readHeader reads and checks a qcow2 header. It reads no more than the
// first cluster, at most 2 MiB.
func readHeader(r io.ReaderAt) (header, error) {
	fixed := make([]byte, headerMinV3)
	n, err := r.ReadAt(fixed, 0)
	if err != nil && err != io.EOF {
		return header{}, err
	}
	be := binary.BigEndian
	if n < headerLengthV2 || string(fixed[:4]) != "QFI\xfb" {
		return header{}, errors.New("not a qcow2 image: its first bytes are others")
	}
	version, bits := be.Uint32(fixed[4:]), be.Uint32(fixed[20:])
	switch {
	case version != 2 && version != 3:
		return header{}, fmt.Errorf("qcow2 version %d is not known", version)
	case version == 3 && n < headerMinV3:
		return header{}, errors.New("qcow2 header is cut short")
	case bits < minClusterBits || bits > maxClusterBits:
		return header{}, fmt.Errorf("qcow2 clusters of 2^%d bytes", bits)
	case be.Uint32(fixed[32:]) != 0:
		return header{}, errors.New("qcow2 image is encrypted: convert it to one that is not")
	}
	length, autoclear := uint32(headerLengthV2), uint64(0)
	if version == 3 {
		autoclear = be.Uint64(fixed[88:])
		if err := checkFeatures(be.Uint64(fixed[72:])); err != nil {
			return header{}, err
		}
		length = be.Uint32(fixed[100:])
	}
	cluster := make([]byte, 1<<bits)
	if n, err = r.ReadAt(cluster, 0); err != nil && err != io.EOF {
		return header{}, err
	}
	h, err := parseNames(cluster[:n], length, be.Uint64(fixed[8:]), be.Uint32(fixed[16:]))
	if autoclear&autoclearBitmaps == 0 {
		h.bitmaps = directory{}
	}
	return h, err
}

func checkFeatures(incompatible uint64) error {
	switch {
	case incompatible&^incompatKnown != 0:
		return fmt.Errorf("qcow2 image uses features that are not known (%#x)", incompatible&^uint64(incompatKnown))
	case incompatible&incompatDataFile != 0:
		return errors.New("qcow2 image keeps its data in another file: that is not read, convert it")
	case incompatible&incompatCorrupt != 0:
		return errors.New("qcow2 image is marked as corrupt by QEMU: repair it first (qemu-img check -r all)")
	}
	return nil
}

// parseNames finds the backing file's name and format in the first cluster.
func parseNames(cluster []byte, length uint32, nameAt uint64, nameSize uint32) (header, error) {
	var h header
	end := uint64(len(cluster))
	if nameAt != 0 && nameSize != 0 {
		if nameSize > maxBackingName || nameAt < uint64(length) || nameAt > end || uint64(nameSize) > end-nameAt {
			return h, fmt.Errorf("qcow2 header places the backing file's name, %d bytes, at %d", nameSize, nameAt)
		}
		h.backing = string(cluster[nameAt : nameAt+uint64(nameSize)])
		end = nameAt
		if strings.ContainsRune(h.backing, 0) {
			return h, fmt.Errorf("qcow2 header has the backing file's name %q", h.backing)
		}
	}
	if uint64(length) > end {
		return h, fmt.Errorf("qcow2 header of %d bytes", length)
	}
	return h, h.parseExtensions(cluster[length:end])
}

// parseExtensions reads header extensions: type, length, data padded to 8 bytes.
func (h *header) parseExtensions(b []byte) error {
	for len(b) >= 8 {
		kind, size := binary.BigEndian.Uint32(b), uint64(binary.BigEndian.Uint32(b[4:]))
		b = b[8:]
		if kind == extEnd {
			return nil
		}
		if size > uint64(len(b)) {
			return fmt.Errorf("qcow2 header extension %#x of %d bytes", kind, size)
		}
		switch kind {
		case extBackingFormat:
			if size > 16 {
				return fmt.Errorf("qcow2 header names a format in %d bytes", size)
			}
			h.backingFormat = string(b[:size])
		case extBitmaps:
			var err error
			if h.bitmaps, err = parseDirectory(b[:size]); err != nil {
				h.bitmaps = directory{} // nothing but bitmaps is in doubt then
			}
		case extDataFile:
			return errors.New("qcow2 image keeps its data in another file: that is not read, convert it")
		}
		b = b[min((size+7)/8*8, uint64(len(b))):]
	}
	return nil
}
