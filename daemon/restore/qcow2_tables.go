package restore

import "encoding/binary"

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
