package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// bitmap is what the directory of a qcow2 image says of one dirty bitmap. The format is
// described with the header's.
type bitmap struct {
	name  string
	inUse bool // whoever had the image open for writing last did not save it
	auto  bool // it counts whatever is written
}

// directory says where an image's bitmaps are described.
type directory struct {
	count  uint32
	size   uint64 // bytes
	offset uint64
}

// Numbers of the format, and the limits that QEMU sets.
const (
	extBitmaps       = 0x23852875
	autoclearBitmaps = 1 << 0 // unset: who wrote last knew nothing of bitmaps

	maxBitmaps         = 65535
	maxBitmapName      = 1023
	maxDirectory       = 64 << 20 // bytes
	bitmapEntry        = 24       // fixed part of an entry
	bitmapInUse        = 1 << 0
	bitmapAuto         = 1 << 1
	bitmapKnownFlags   = 1<<3 - 1
	bitmapDirtyTracked = 1 // its type
)

// parseDirectory reads the header extension that places the directory.
func parseDirectory(b []byte) (directory, error) {
	be := binary.BigEndian
	if len(b) != 24 {
		return directory{}, fmt.Errorf("qcow2 header describes bitmaps in %d bytes", len(b))
	}
	d := directory{be.Uint32(b), be.Uint64(b[8:]), be.Uint64(b[16:])}
	if d.count == 0 || d.count > maxBitmaps || d.size > maxDirectory || d.offset > 1<<56 {
		return directory{}, fmt.Errorf("qcow2 header places %d bitmaps in %d bytes at %d", d.count, d.size, d.offset)
	}
	return d, nil
}

// readBitmaps reads the directory of an image.
func readBitmaps(r io.ReaderAt, d directory) ([]bitmap, error) {
	b, err := io.ReadAll(io.NewSectionReader(r, int64(d.offset), int64(d.size))) // no more than there is
	if err != nil {
		return nil, err
	}
	if uint64(len(b)) != d.size {
		return nil, errors.New("qcow2 image ends within the list of its bitmaps")
	}
	var list []bitmap
	for range d.count {
		one, size, err := parseBitmap(b)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
		b = b[size:]
	}
	return list, nil
}

// parseBitmap reads the entry at the beginning of b, and says how long it is.
func parseBitmap(b []byte) (one bitmap, size int, err error) {
	if len(b) < bitmapEntry {
		return one, 0, errors.New("the list of the qcow2 image's bitmaps is cut short")
	}
	be := binary.BigEndian
	flags, kind, nameSize, extra := be.Uint32(b[12:]), b[16], uint64(be.Uint16(b[18:])), uint64(be.Uint32(b[20:]))
	end := bitmapEntry + extra + nameSize
	if nameSize == 0 || nameSize > maxBitmapName || (end+7)/8*8 > uint64(len(b)) {
		return one, 0, fmt.Errorf("the list of the qcow2 image's bitmaps has a name of %d bytes after %d others", nameSize, extra)
	}
	one = bitmap{string(b[bitmapEntry+extra : end]), flags&bitmapInUse != 0, flags&bitmapAuto != 0}
	if kind != bitmapDirtyTracked || extra != 0 || flags&^bitmapKnownFlags != 0 {
		one.inUse = true // of a kind that is not known: as good as not saved
	}
	return one, int((end + 7) / 8 * 8), nil
}

// doubt says why a bitmap in the image is not to be believed; "": it is.
func doubt(f io.ReaderAt, name string) string {
	h, err := readHeader(f)
	if err == nil && h.bitmaps.count == 0 {
		return "its bitmap is gone"
	}
	var list []bitmap
	if err == nil {
		list, err = readBitmaps(f, h.bitmaps)
	}
	if err != nil {
		return fmt.Sprintf("its bitmaps cannot be read: %v", err)
	}
	for _, b := range list {
		switch {
		case b.name != name:
		case b.inUse:
			return "its bitmap was not saved when the machine went off"
		case !b.auto:
			return "its bitmap had stopped when the machine went off"
		default:
			return ""
		}
	}
	return "its bitmap is gone"
}
