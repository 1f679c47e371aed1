package iso9660

import (
	"cmp"
	"encoding/binary"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/lately"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Format reads ISO 9660.
var Format = tree.Format{Name: "ISO 9660", Probe: probe, Open: open}

var (
	le = binary.LittleEndian
	be = binary.BigEndian
)

const (
	defaultMemory = 64 << 20
	rootIno       = 1 // lies within the system area: no record has it
)

func probe(r io.ReaderAt, _ int64) bool {
	d, err := readDescriptors(r)
	return err == nil && d.primary != nil
}

// naming is where names come from.
type naming int

const (
	plain naming = iota
	joliet
	rockRidge
)

// volume is an open ISO 9660. It does not change after open, but for its caches.
type volume struct {
	r        io.ReaderAt
	block    int64 // bytes
	naming   naming
	skip     int // bytes before the system use entries of each record
	root     record
	maxNames int // of a folder in memory
	info     tree.Info

	folders *lately.Cache[uint64, *names]
	sectors *lately.Cache[int64, []byte]
}

var _ tree.FileSystem = (*volume)(nil)

func open(r io.ReaderAt, size int64, o tree.Options) (tree.FileSystem, error) {
	d, err := readDescriptors(r)
	if err != nil {
		return nil, err
	}
	memory := cmp.Or(o.Memory, defaultMemory)
	v := &volume{r: r, maxNames: int(memory / 8 / nameCost),
		folders: lately.New[uint64, *names](memory / 2),
		sectors: lately.New[int64, []byte](memory / 4)}
	if err := v.begin(d); err != nil {
		return nil, err
	}
	v.describe(d, size)
	return v, nil
}

// Root returns the number of the root folder.
func (v *volume) Root() uint64 { return rootIno }

// Info describes the volume.
func (v *volume) Info() tree.Info { return v.info }
