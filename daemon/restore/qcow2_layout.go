package restore

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// The format is described in QEMU's docs/interop/qcow2.rst (qcow2.txt before
// QEMU 10). Written here: version 3, clusters of 64 KiB, 16-bit reference counts,
// no backing file, no snapshots, no compression. The file is
//
//	header | L1 table | refcount table | refcount blocks | L2 tables | data
//
// with every part in whole clusters. Data clusters follow in the disk's order, so
// that where one lies is the number of those before it, and one bit for each
// cluster of the disk is all that must be kept.
const (
	clusterBits = 16
	clusterSize = 1 << clusterBits

	l2Entries       = clusterSize / 8 // of one L2 table, which maps 512 MiB
	refcountEntries = clusterSize / 2 // of one refcount block, which counts 2 GiB of the file

	copied = 1 << 63 // in a table's entry: the cluster's reference count is one

	// maxQcow2 is the largest disk in bytes: QEMU opens L1 tables of up to 32 MiB.
	maxQcow2 = (32 << 20) / 8 * l2Entries * clusterSize
)

// region is the part of a disk that one L2 table maps.
type region struct {
	data   [l2Entries / 64]uint64 // a bit for each cluster that holds data
	before int64                  // data clusters in earlier regions; set by place
}

// layout is where everything lies in a qcow2 file.
type layout struct {
	size    int64     // of the disk in bytes, a multiple of 512
	regions []*region // by L1 entry; nil where there is no data

	// In clusters, set by place.
	l1, refTable, refBlocks, tables, data int64
}

func newLayout(size int64) (*layout, error) {
	if size > maxQcow2 {
		return nil, fmt.Errorf("a disk of %d bytes does not fit into a qcow2 file, which takes %d: restore it as raw", size, int64(maxQcow2))
	}
	l := &layout{size: (size + 511) &^ 511}
	l.regions = make([]*region, ceil(l.size, l2Entries*clusterSize))
	return l, nil
}

// add tells of an extent of the disk.
func (l *layout) add(e blockstore.Extent) {
	if e.Kind != blockstore.Data || e.Length == 0 {
		return
	}
	last := (e.End() - 1) >> clusterBits
	for c := e.Offset >> clusterBits; c <= last; c++ {
		r := l.regions[c/l2Entries]
		if r == nil {
			r = new(region)
			l.regions[c/l2Entries] = r
		}
		r.data[c%l2Entries/64] |= 1 << (c % 64)
	}
}

// place decides where everything lies, after the last add.
func (l *layout) place() {
	l.tables, l.data = 0, 0
	for _, r := range l.regions {
		if r == nil {
			continue
		}
		l.tables++
		r.before = l.data
		for _, w := range r.data {
			l.data += int64(bits.OnesCount64(w))
		}
	}
	l.l1 = ceil(int64(len(l.regions))*8, clusterSize)
	l.placeRefcounts()
}

// placeRefcounts decides how many clusters the counts take, which count their own
// clusters, too.
func (l *layout) placeRefcounts() {
	l.refTable, l.refBlocks = 1, 1
	for {
		blocks := ceil(l.clusters(), refcountEntries)
		table := ceil(blocks*8, clusterSize)
		if blocks == l.refBlocks && table == l.refTable {
			return
		}
		l.refBlocks, l.refTable = blocks, table // never less than before
	}
}

func (l *layout) refTableAt() int64  { return 1 + l.l1 }
func (l *layout) refBlocksAt() int64 { return l.refTableAt() + l.refTable }
func (l *layout) tablesAt() int64    { return l.refBlocksAt() + l.refBlocks }
func (l *layout) dataAt() int64      { return l.tablesAt() + l.tables }
func (l *layout) clusters() int64    { return l.dataAt() + l.data }

// find returns where in the file a byte of the disk lies, and how many bytes that
// follow it, at most length, lie behind it. mapped is false where there is no
// data, for all of n bytes.
func (l *layout) find(off, length int64) (at, n int64, mapped bool) {
	first := off >> clusterBits
	host, mapped := l.host(first)
	end := first + 1
	for end<<clusterBits < off+length {
		if _, m := l.host(end); m != mapped {
			break
		}
		end++
	}
	n = min(length, end<<clusterBits-off)
	return host<<clusterBits + off%clusterSize, n, mapped
}

// host returns the cluster of the file that holds a cluster of the disk.
func (l *layout) host(c int64) (int64, bool) {
	if c/l2Entries >= int64(len(l.regions)) {
		return 0, false
	}
	r := l.regions[c/l2Entries]
	word, bit := c%l2Entries/64, uint64(1)<<(c%64)
	if r == nil || r.data[word]&bit == 0 {
		return 0, false
	}
	n := l.dataAt() + r.before + int64(bits.OnesCount64(r.data[word]&(bit-1)))
	for _, w := range r.data[:word] {
		n += int64(bits.OnesCount64(w))
	}
	return n, true
}

// metadata calls fn for everything in the file but the data: in the file's order,
// in buffers of at most a cluster that fn must not keep.
func (l *layout) metadata(fn func(p []byte, off int64) error) error {
	if err := fn(l.header(), 0); err != nil {
		return err
	}
	table := l.tablesAt()
	if err := entries(1, int64(len(l.regions)), func(i int64) uint64 {
		if l.regions[i] == nil {
			return 0
		}
		table++
		return uint64(table-1)<<clusterBits | copied
	}, fn); err != nil {
		return err
	}
	if err := entries(l.refTableAt(), l.refBlocks, func(i int64) uint64 {
		return uint64(l.refBlocksAt()+i) << clusterBits
	}, fn); err != nil {
		return err
	}
	if err := l.refcounts(fn); err != nil {
		return err
	}
	return l.l2Tables(fn)
}

func (l *layout) header() []byte {
	be := binary.BigEndian
	b := append(make([]byte, 0, 112), "QFI\xfb"...)
	b = be.AppendUint32(b, 3)                                   // version
	b = be.AppendUint64(b, 0)                                   // backing file name: offset
	b = be.AppendUint32(b, 0)                                   // and length
	b = be.AppendUint32(b, clusterBits)                         //
	b = be.AppendUint64(b, uint64(l.size))                      //
	b = be.AppendUint32(b, 0)                                   // not encrypted
	b = be.AppendUint32(b, uint32(len(l.regions)))              // L1 table: entries
	b = be.AppendUint64(b, clusterSize)                         // and offset
	b = be.AppendUint64(b, uint64(l.refTableAt())<<clusterBits) // refcount table: offset
	b = be.AppendUint32(b, uint32(l.refTable))                  // and clusters
	b = be.AppendUint32(b, 0)                                   // snapshots: number
	b = be.AppendUint64(b, 0)                                   // and offset
	b = be.AppendUint64(b, 0)                                   // incompatible features
	b = be.AppendUint64(b, 0)                                   // compatible features
	b = be.AppendUint64(b, 0)                                   // autoclear features
	b = be.AppendUint32(b, 4)                                   // refcounts have 1<<4 bits
	b = be.AppendUint32(b, 104)                                 // length of the header
	return be.AppendUint64(b, 0)                                // end of header extensions
}

// entries calls fn with a table of n entries of 8 bytes that begins at a cluster.
func entries(cluster, n int64, entry func(i int64) uint64, fn func([]byte, int64) error) error {
	buf := make([]byte, 0, clusterSize)
	for i := range n {
		buf = binary.BigEndian.AppendUint64(buf, entry(i))
		if len(buf) == clusterSize || i == n-1 {
			if err := fn(buf, cluster<<clusterBits); err != nil {
				return err
			}
			buf = buf[:0]
			cluster++
		}
	}
	return nil
}

// refcounts calls fn with the refcount blocks: every cluster of the file is
// counted once.
func (l *layout) refcounts(fn func([]byte, int64) error) error {
	buf := make([]byte, clusterSize)
	for i := range refcountEntries {
		buf[2*i+1] = 1
	}
	for i := range l.refBlocks {
		n := min(refcountEntries, l.clusters()-i*refcountEntries)
		if err := fn(buf[:2*n], (l.refBlocksAt()+i)<<clusterBits); err != nil {
			return err
		}
	}
	return nil
}

// l2Tables calls fn with the L2 tables.
func (l *layout) l2Tables(fn func([]byte, int64) error) error {
	table, host := l.tablesAt(), l.dataAt()
	for _, r := range l.regions {
		if r == nil {
			continue
		}
		err := entries(table, l2Entries, func(c int64) uint64 {
			if r.data[c/64]&(1<<(c%64)) == 0 {
				return 0
			}
			host++
			return uint64(host-1)<<clusterBits | copied
		}, fn)
		if err != nil {
			return err
		}
		table++
	}
	return nil
}

func ceil(n, unit int64) int64 { return (n + unit - 1) / unit }
