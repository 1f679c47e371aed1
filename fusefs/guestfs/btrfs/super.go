package btrfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	superMagic  = "_BHRfS_M"
	superSize   = 4096
	superArray  = 811 // where the chunks lie that the chunk tree itself is in
	maxArray    = 2048
	maxLevel    = 7
	nodeHeader  = 101
	flagError   = 1 << 2
	flagsDump   = 1<<33 | 1<<34 // an image of the metadata alone
	maxSuperDev = 1 << 60
)

// superPlaces are where a superblock and its copies lie.
var superPlaces = []int64{64 << 10, 64 << 20, 256 << 30}

// Incompatible features by bit; those named in refused change what a reader has to do.
var incompatNames = []string{"mixed_backref", "default_subvol", "mixed_groups", "compress_lzo", "compress_zstd", "big_metadata",
	"extended_iref", "raid56", "skinny_metadata", "no_holes", "metadata_uuid", "raid1c34", "zoned", "extent_tree_v2",
	"raid_stripe_tree", "bit 15", "simple_quota"}

const (
	incompatNoHoles  = 1 << 9
	incompatMetaUUID = 1 << 10
	incompatRefused  = 1<<13 | 1<<14 | 1<<15 | ^uint64(1<<17-1)
)

// super is the superblock of one device.
type super struct {
	at         int64 // which copy, in bytes of the volume
	fsid       [16]byte
	metaUUID   [16]byte // what metadata is stamped with
	flags      uint64
	generation uint64
	root       nodePointer // of the tree of roots
	chunkRoot  nodePointer
	logRoot    nodePointer
	size, used uint64 // bytes
	rootDir    uint64 // where the tree of roots keeps the name of the default subvolume
	devices    uint64
	sector     int
	node       int
	incompat   uint64
	sum        sumKind
	device     uint64
	deviceSize uint64
	label      string
	array      []byte
}

// parseSuper reads a superblock from its place. Layout: btrfs_super_block.
func parseSuper(b []byte, at int64) (*super, error) {
	bad := func(format string, args ...any) (*super, error) {
		return nil, &tree.CorruptError{What: "the superblock", Why: fmt.Sprintf(format, args...), At: at}
	}
	if len(b) < superSize || string(b[64:72]) != superMagic {
		return bad("it has no magic number")
	}
	s := &super{
		at: at, flags: le.Uint64(b[56:]), generation: le.Uint64(b[72:]), size: le.Uint64(b[112:]), used: le.Uint64(b[120:]),
		rootDir: le.Uint64(b[128:]), devices: le.Uint64(b[136:]), incompat: le.Uint64(b[188:]), sum: sumKind(le.Uint16(b[196:])),
		device: le.Uint64(b[201:]), deviceSize: le.Uint64(b[209:]),
	}
	if int(s.sum) >= len(sums) {
		return nil, unsupported("the volume", "its checksums are of kind %d, which is not known here", s.sum)
	}
	if !s.sum.blockHolds(b[:superSize]) {
		return bad("its checksum (%s) is wrong", sums[s.sum].name)
	}
	copy(s.fsid[:], b[32:])
	s.metaUUID = s.fsid
	if s.incompat&incompatMetaUUID != 0 {
		copy(s.metaUUID[:], b[571:])
	}
	label, _, _ := bytes.Cut(b[299:555], []byte{0})
	s.label = strings.ToValidUTF8(string(label), "�")
	s.root = nodePointer{at: le.Uint64(b[80:]), generation: s.generation, level: int(b[198])}
	s.chunkRoot = nodePointer{at: le.Uint64(b[88:]), generation: le.Uint64(b[164:]), level: int(b[199])}
	s.logRoot = nodePointer{at: le.Uint64(b[96:]), generation: s.generation + 1, level: int(b[200])}
	sector, node, array := le.Uint32(b[144:]), le.Uint32(b[148:]), le.Uint32(b[160:])
	power := func(n, low uint32) bool { return n >= low && n <= 64<<10 && n&(n-1) == 0 }
	switch {
	case le.Uint64(b[48:]) != uint64(at):
		return bad("it says that it belongs at %d", le.Uint64(b[48:]))
	case !power(sector, 512) || !power(node, 4096) || node < sector:
		return bad("sectors of %d bytes and blocks of %d", sector, node)
	case array > maxArray:
		return bad("%d bytes of system chunks", array)
	case s.root.level > maxLevel || s.chunkRoot.level > maxLevel || s.logRoot.level > maxLevel:
		return bad("a tree of more than %d levels", maxLevel+1)
	case s.devices == 0 || s.size > maxSuperDev || s.deviceSize > maxSuperDev:
		return bad("%d devices, %d bytes", s.devices, s.size)
	}
	s.sector, s.node = int(sector), int(node)
	s.array = bytes.Clone(b[superArray : superArray+int(array)])
	return s, nil
}

// findSuper reads the superblock of a volume: the first copy that is whole. Copies are
// not chosen by their generation, as those at the end of an older file system would
// be taken, and the first alone knows the log.
func findSuper(r io.ReaderAt, size int64) (*super, string, error) {
	var first error
	b := make([]byte, superSize)
	for i, at := range superPlaces {
		if at+superSize > size {
			break
		}
		n, err := r.ReadAt(b, at)
		if n < len(b) && err != nil && !errors.Is(err, io.EOF) {
			err = fmt.Errorf("read the superblock at %d of the volume: %w", at, err)
		} else {
			var s *super
			if s, err = parseSuper(b[:n], at); err == nil {
				if i == 0 {
					return s, "", nil
				}
				return s, fmt.Sprintf("its first superblock is damaged: that at %d was used, and what was synced after the last commit is not shown", at), nil
			}
		}
		if first == nil {
			first = err
		}
		var unknown *tree.UnsupportedError
		if errors.As(err, &unknown) {
			break
		}
	}
	if first == nil {
		first = &tree.CorruptError{What: "the superblock", Why: "the volume ends before it", At: superPlaces[0]}
	}
	return nil, "", first
}

// refuse names what this package cannot read.
func (s *super) refuse() error {
	if s.flags&flagsDump != 0 {
		return unsupported("the volume", "it is an image of btrfs's metadata alone (btrfs-image)")
	}
	var names []string
	for bit := range 64 {
		if s.incompat&incompatRefused>>bit&1 == 0 {
			continue
		}
		if bit < len(incompatNames) {
			names = append(names, incompatNames[bit])
		} else {
			names = append(names, fmt.Sprintf("bit %d", bit))
		}
	}
	if len(names) > 0 {
		return unsupported("the volume", "it has incompatible features that are not known here: %s", strings.Join(names, ", "))
	}
	return nil
}

func unsupported(what, format string, args ...any) error {
	return &tree.UnsupportedError{What: what, Why: fmt.Sprintf(format, args...)}
}

// corrupt is damage at a logical address, which the volume has no single offset for.
func corrupt(what, format string, args ...any) error {
	return &tree.CorruptError{What: what, Why: fmt.Sprintf(format, args...), At: -1}
}
