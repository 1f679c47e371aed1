package restore

import (
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

func ceil(n, unit int64) int64 { return (n + unit - 1) / unit }
