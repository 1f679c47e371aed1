package squashfs

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/lately"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Format reads squashfs.
var Format = tree.Format{Name: "squashfs", Probe: probe, Open: open}

var le = binary.LittleEndian

const (
	defaultMemory = 64 << 20
	superSize     = 96
	magic         = "hsqs"
	minBlock      = 4 << 10
	maxBlock      = 1 << 20
	noTable       = 1<<64 - 1
)

// super is the superblock. Places are in bytes from the volume's beginning.
type super struct {
	block                                     int64 // bytes of a full block of a file
	method                                    int
	fragments, ids                            int64 // how many there are
	root                                      uint64
	end                                       int64
	idTable, xattrTable, inodeTable, dirTable int64
	fragmentTable                             int64
}

func readSuper(r io.ReaderAt) (s super, err error) {
	b := make([]byte, superSize)
	if err := tree.ReadFull(r, b, 0); err != nil {
		return s, fmt.Errorf("the superblock: %w", err)
	}
	bad := func(why string, args ...any) (super, error) {
		return s, &tree.CorruptError{What: "the superblock", Why: fmt.Sprintf(why, args...), At: 0}
	}
	if string(b[:4]) != magic {
		return bad("it is not one of squashfs")
	}
	if major, minor := le.Uint16(b[28:]), le.Uint16(b[30:]); major != 4 || minor != 0 {
		return bad("it is of version %d.%d", major, minor)
	}
	s = super{block: int64(le.Uint32(b[12:])), fragments: int64(le.Uint32(b[16:])), method: int(le.Uint16(b[20:])), ids: int64(le.Uint16(b[26:])), root: le.Uint64(b[32:])}
	if shift := le.Uint16(b[22:]); shift > 20 || s.block != 1<<shift || s.block < minBlock {
		return bad("its blocks have %d bytes, or 2^%d", s.block, shift)
	}
	for i, to := range []*int64{&s.end, &s.idTable, &s.xattrTable, &s.inodeTable, &s.dirTable, &s.fragmentTable} {
		at := le.Uint64(b[40+8*i:])
		if *to = int64(at); at == noTable && (to == &s.xattrTable || to == &s.fragmentTable) {
			*to = -1
		} else if at < superSize || at > 1<<62 || to != &s.end && *to >= s.end {
			return bad("one of its tables is at %d of %d", at, s.end)
		}
	}
	return s, nil
}

func probe(r io.ReaderAt, _ int64) bool {
	_, err := readSuper(r)
	return err == nil
}

// volume is an open squashfs. It does not change after open, but for its caches.
type volume struct {
	super
	r         io.ReaderAt
	decoder   decoder
	xattrs    xattrTable
	maxBlocks int64 // of a file
	maxNames  int   // of a folder in memory
	info      tree.Info

	metas   *lately.Cache[int64, meta]
	blocks  *lately.Cache[int64, []byte]
	folders *lately.Cache[uint64, map[string]uint64]
}

var _ tree.FileSystem = (*volume)(nil)

func open(r io.ReaderAt, size int64, o tree.Options) (tree.FileSystem, error) {
	s, err := readSuper(r)
	if err != nil {
		return nil, err
	}
	memory := cmp.Or(o.Memory, defaultMemory)
	v := &volume{super: s, r: r, maxBlocks: max(memory/8/4, 1024), maxNames: int(memory / 8 / nameCost),
		metas:   lately.New[int64, meta](max(memory/4, 8*metaSize)),
		blocks:  lately.New[int64, []byte](max(memory/4, 2*s.block+4096)),
		folders: lately.New[uint64, map[string]uint64](memory / 4)}
	if v.decoder, err = newDecoder(s.method); err != nil {
		return nil, err
	}
	v.info = tree.Info{Type: "squashfs", Size: s.end, Used: s.end, BlockSize: int(s.block), Journal: tree.NoJournal}
	if s.end > size {
		v.info.Notes = append(v.info.Notes, fmt.Sprintf("the image ends at %d of %d bytes", size, s.end))
	}
	if err := v.readXattrTable(); err != nil {
		v.info.Notes = append(v.info.Notes, fmt.Sprintf("extended attributes are not shown: %v", err))
	}
	return v, nil
}

// Info describes the volume.
func (v *volume) Info() tree.Info { return v.info }

// Root returns the number of the root folder.
func (v *volume) Root() uint64 { return v.root + 1 }
