package exfat

import (
	"bytes"
	"fmt"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	bootSize    = 512
	signature   = "EXFAT   "
	mustBeZero  = 64 // the sector up to here, after jump and signature
	copySector  = 12 // where the copy of the boot region begins
	maxClusters = 1<<32 - 11
	maxShift    = 25 // of a cluster: 32 MiB

	// Flags of the volume.
	flagSecondTable = 1 << 0
	flagDirty       = 1 << 1
	flagMediaFailed = 1 << 2
)

// boot is what the boot sector says. Offsets and sizes are in bytes.
type boot struct {
	sector, cluster int64
	tableAt         int64 // of the table in use
	tableSize       int64
	heapAt          int64  // of cluster 2
	clusters        uint32 // numbered from 2
	rootCluster     uint32
	serial          uint32
	flags           uint16
	damaged         string // why the boot region's copy was used, or its checksum passed over
}

// valid reports whether a cluster of this number exists.
func (o *boot) valid(c uint32) bool { return c >= 2 && c-2 < o.clusters }

// place is where a cluster lies on the volume.
func (o *boot) place(c uint32) int64 { return o.heapAt + int64(c-2)*o.cluster }

// parseBoot reads a boot sector that lies at offset at.
func parseBoot(b []byte, at int64) (boot, error) {
	bad := func(why string, args ...any) (boot, error) {
		return boot{}, &tree.CorruptError{What: "the boot sector", Why: fmt.Sprintf(why, args...), At: at}
	}
	if string(b[3:11]) != signature || !bytes.Equal(b[11:mustBeZero], make([]byte, mustBeZero-11)) || b[510] != 0x55 || b[511] != 0xAA {
		return bad("it is not one of exFAT")
	}
	shift, perCluster, tables := b[108], b[109], b[110]
	if shift < 9 || shift > 12 || perCluster > maxShift-shift {
		return bad("sectors have 2^%d bytes and clusters 2^%d sectors", shift, perCluster)
	}
	if version := le.Uint16(b[104:]); version>>8 != 1 {
		return bad("it is of version %d.%d", version>>8, version&0xFF)
	}
	if tables != 1 && tables != 2 {
		return bad("it has %d tables", tables)
	}
	sectors := func(off int) int64 { return int64(le.Uint32(b[off:])) << shift }
	o := boot{sector: 1 << shift, cluster: 1 << (shift + perCluster),
		tableAt: sectors(80), tableSize: sectors(84), heapAt: sectors(88), clusters: le.Uint32(b[92:]),
		rootCluster: le.Uint32(b[96:]), serial: le.Uint32(b[100:]), flags: le.Uint16(b[106:])}
	if o.tableAt < 2*copySector*o.sector || o.heapAt < o.tableAt+int64(tables)*o.tableSize {
		return bad("its table of %d bytes begins at %d, its clusters at %d", o.tableSize, o.tableAt, o.heapAt)
	}
	if o.clusters == 0 || o.clusters > maxClusters || (int64(o.clusters)+2)*linkSize > o.tableSize {
		return bad("it has %d clusters and a table of %d bytes", o.clusters, o.tableSize)
	}
	if !o.valid(o.rootCluster) {
		return bad("its root is at cluster %d of %d", o.rootCluster, o.clusters)
	}
	if tables == 2 && o.flags&flagSecondTable != 0 {
		o.tableAt += o.tableSize
	}
	return o, nil
}

// readBoot reads the boot region, or its copy where it is damaged. A region
// whose sector is plausible and whose checksum alone is wrong is used when the copy is no better.
func readBoot(r io.ReaderAt) (boot, error) {
	main, err := readRegion(r, 0, 0)
	if err == nil && main.damaged == "" {
		return main, nil
	}
	for sector := int64(512); sector <= 4096; sector *= 2 {
		if spare, spareErr := readRegion(r, copySector*sector, sector); spareErr == nil && spare.damaged == "" {
			spare.damaged = "the boot region is damaged: its copy was used"
			return spare, nil
		}
	}
	return main, err
}

// readRegion reads the boot region at an offset; sector is how large its sectors
// must be, 0 for any.
func readRegion(r io.ReaderAt, at, sector int64) (boot, error) {
	b := make([]byte, bootSize)
	if err := tree.ReadFull(r, b, at); err != nil {
		return boot{}, fmt.Errorf("the boot sector: %w", err)
	}
	o, err := parseBoot(b, at)
	if err != nil {
		return boot{}, err
	}
	if sector != 0 && o.sector != sector {
		return boot{}, &tree.CorruptError{What: "the copy of the boot sector", Why: fmt.Sprintf("it is one of sectors of %d bytes", o.sector), At: at}
	}
	region := make([]byte, copySector*o.sector)
	if err := tree.ReadFull(r, region, at); err != nil {
		return boot{}, fmt.Errorf("the boot region: %w", err)
	}
	if !sumHolds(region, o.sector) {
		o.damaged = "the checksum of the boot region is wrong, and its copy is no better"
	}
	return o, nil
}

// sumHolds checks the boot region's checksum, which fills its last sector. Flags
// and the percentage in use are not part of it.
func sumHolds(region []byte, sector int64) bool {
	body, last := region[:int64(len(region))-sector], region[int64(len(region))-sector:]
	sum := uint32(0)
	for i, c := range body {
		if i == 106 || i == 107 || i == 112 {
			continue
		}
		sum = sum<<31 | sum>>1
		sum += uint32(c)
	}
	for ; len(last) > 0; last = last[4:] {
		if le.Uint32(last) != sum {
			return false
		}
	}
	return true
}
