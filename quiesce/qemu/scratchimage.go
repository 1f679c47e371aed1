package qemu

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// Where the parts of an empty qcow2 image lie (QEMU's docs/interop/qcow2.rst), in clusters: a
// header, a table of one block of reference counts, that block, and the L1 table to the end.
// Version 3, clusters of 64 KiB, counts of 16 bits.
const (
	scratchClusterBits = 16
	scratchCluster     = 1 << scratchClusterBits

	scratchRefTable = 1
	scratchRefBlock = 2
	scratchL1       = 3

	scratchHeader   = 104                                 // bytes
	scratchL2Covers = scratchCluster / 8 * scratchCluster // bytes of the disk behind one entry of the L1 table
	scratchMaxL1    = 32 << 20                            // bytes of it: QEMU opens none that is larger
)

// emptyFile is a file without content.
type emptyFile interface {
	io.WriterAt
	Truncate(size int64) error
}

// WriteScratchImage makes a file with an empty qcow2 image for a disk of size bytes, which belongs to
// the user and group that QEMU runs as, and to nobody else. There must be no such file.
func WriteScratchImage(path string, size int64, uid, gid int) error {
	r, p := run{}, process{uid: uid, gid: gid}
	return r.makeFile(path, p, func(f *os.File) error { return writeScratchImage(f, size) })
}

// writeScratchImage writes an empty qcow2 image for a disk of size bytes. QEMU could do it, by
// blockdev-create: but that is a job, which opens the image beside everything else, and until its
// header was read, every look at QEMU's nodes (query-named-block-nodes, of libvirt's or of
// whoever has a monitor) ends in an assertion of qcow2_get_specific_info, and the guest with it.
func writeScratchImage(f emptyFile, size int64) error {
	const sector = 512
	size = (size + sector - 1) / sector * sector
	entries := max((size+scratchL2Covers-1)/scratchL2Covers, 1)
	if entries*8 > scratchMaxL1 {
		return fmt.Errorf("a disk of %d bytes is larger than a qcow2 image can be", size)
	}
	used := scratchL1 + (entries*8+scratchCluster-1)/scratchCluster

	header := make([]byte, scratchHeader)
	be := binary.BigEndian
	copy(header, "QFI\xfb")
	be.PutUint32(header[4:], 3) // version
	be.PutUint32(header[20:], scratchClusterBits)
	be.PutUint64(header[24:], uint64(size))
	be.PutUint32(header[36:], uint32(entries))
	be.PutUint64(header[40:], scratchL1*scratchCluster)
	be.PutUint64(header[48:], scratchRefTable*scratchCluster)
	be.PutUint32(header[56:], 1) // cluster of the table of reference counts
	be.PutUint32(header[96:], 4) // counts of 1 << 4 bits
	be.PutUint32(header[100:], scratchHeader)

	counts := make([]byte, 2*used) // one block counts more clusters than the largest L1 table has
	for i := range used {
		be.PutUint16(counts[2*i:], 1)
	}
	if err := f.Truncate(used * scratchCluster); err != nil {
		return err
	}
	for _, part := range []struct {
		at   int64
		text []byte
	}{
		{0, header},
		{scratchRefTable * scratchCluster, be.AppendUint64(nil, scratchRefBlock*scratchCluster)},
		{scratchRefBlock * scratchCluster, counts},
	} {
		if _, err := f.WriteAt(part.text, part.at); err != nil {
			return err
		}
	}
	return nil
}
