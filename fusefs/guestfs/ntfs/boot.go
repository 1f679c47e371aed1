package ntfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

var le = binary.LittleEndian

const (
	bootSize   = 512
	maxCluster = 2 << 20 // since Windows 10 1709
	maxRecord  = 64 << 10
	maxIndex   = 64 << 10
	mftLimit   = 1 << 48 // references have 48 bits for a record's number
)

// boot is what the boot sector says: sizes in bytes, places in clusters.
type boot struct {
	sector, cluster int64
	record          int64 // of a FILE record
	index           int64 // of an INDX block, unless the folder says otherwise
	clusters        int64 // whole ones of the volume
	mft, mirror     int64
	serial          uint64
	copied          bool // read from the copy at the volume's end
}

// parseBoot reads a boot sector that lies at offset at.
func parseBoot(b []byte, at int64) (boot, error) {
	bad := func(why string, v int64) (boot, error) {
		return boot{}, &tree.CorruptError{What: "the boot sector", Why: fmt.Sprintf(why, v), At: at}
	}
	if !bytes.Equal(b[3:11], []byte("NTFS    ")) {
		return boot{}, &tree.CorruptError{What: "the boot sector", Why: "it does not say NTFS", At: at}
	}
	o := boot{sector: int64(le.Uint16(b[11:])), mft: int64(le.Uint64(b[48:])),
		mirror: int64(le.Uint64(b[56:])), serial: le.Uint64(b[72:])}
	if !power(o.sector) || o.sector < 512 || o.sector > 4096 {
		return bad("a sector has %d bytes", o.sector)
	}
	// Clusters above 64 KiB are kept as the power of two, below zero.
	sectors := int64(b[13])
	if sectors > 128 {
		sectors = 1 << min(256-sectors, 32)
	}
	if o.cluster = sectors * o.sector; !power(sectors) || o.cluster > maxCluster {
		return bad("a cluster has %d sectors", sectors)
	}
	if o.record = perUnit(int8(b[64]), o.cluster); !power(o.record) || o.record < 512 || o.record > maxRecord {
		return bad("a file record has %d bytes", o.record)
	}
	if o.index = perUnit(int8(b[68]), o.cluster); !power(o.index) || o.index < 512 {
		return bad("an index block has %d bytes", o.index)
	}
	total := le.Uint64(b[40:])
	if total == 0 || total > 1<<54/uint64(o.sector) {
		return bad("the volume has %d sectors", int64(total))
	}
	o.clusters = int64(total) * o.sector / o.cluster
	if o.mft <= 0 || o.mft >= o.clusters {
		return bad("the file table is at cluster %d", o.mft)
	}
	if o.mirror < 0 || o.mirror >= o.clusters {
		o.mirror = 0
	}
	return o, nil
}

// perUnit is a size given in clusters, or below zero as a power of two.
func perUnit(v int8, cluster int64) int64 {
	if v < 0 {
		return 1 << min(-int64(v), 32)
	}
	return int64(v) * cluster
}

func power(v int64) bool { return v > 0 && v&(v-1) == 0 }

// readBoot reads the boot sector, or where it is damaged its copy in the
// volume's last sector.
func readBoot(r io.ReaderAt, size int64) (boot, error) {
	b := make([]byte, bootSize)
	if err := tree.ReadFull(r, b, 0); err != nil {
		return boot{}, fmt.Errorf("the boot sector: %w", err)
	}
	first, err := parseBoot(b, 0)
	if err == nil || !mayBeDamaged(r, b) {
		return first, err
	}
	for _, sector := range []int64{512, 4096} {
		at := size/sector*sector - sector
		if at <= 0 || tree.ReadFull(r, b, at) != nil {
			continue
		}
		if o, err := parseBoot(b, at); err == nil && o.sector <= sector {
			o.copied = true
			return o, nil
		}
	}
	return boot{}, err
}

// mayBeDamaged reports whether a volume without a valid boot sector can still be
// an NTFS whose first sector was hit, and not something else that was made over
// one whose copy is left at the end.
func mayBeDamaged(r io.ReaderAt, first []byte) bool {
	if bytes.Equal(first[3:11], []byte("NTFS    ")) {
		return true
	}
	if bytes.Count(first, first[:1]) != len(first) {
		return false // not wiped: somebody else's
	}
	for _, m := range []struct {
		at   int64
		what string
	}{{0x438, "\x53\xEF"}, {0x218, "LVM2 001"}, {0x10040, "_BHRfS_M"}, {4086, "SWAPSPACE2"}, {0x8001, "CD001"}} {
		b := make([]byte, len(m.what))
		if tree.ReadFull(r, b, m.at) == nil && string(b) == m.what {
			return false
		}
	}
	return true
}
