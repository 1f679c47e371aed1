package udf

import (
	"cmp"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/lately"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Format reads UDF.
var Format = tree.Format{Name: "UDF", Probe: probe, Open: open}

const defaultMemory = 64 << 20

// volume is an open UDF. It does not change after open, but for its caches.
type volume struct {
	r      io.ReaderAt
	size   int64
	block  int64 // bytes
	memory int64
	parts  []partition // by their number in the logical volume's map
	root   uint64
	info   tree.Info

	entries *lately.Cache[uint64, *entry]
	folders *lately.Cache[uint64, *names]
}

var (
	_ tree.FileSystem = (*volume)(nil)
	_ tree.Streamer   = (*volume)(nil)
)

// probe takes what says that it is a UDF and has its anchor. A bridge disc, which is an
// ISO 9660 as well, is one only if its root can be read here.
func probe(r io.ReaderAt, size int64) bool {
	udf, bridge := recognize(r)
	if !udf {
		return false
	}
	if bridge {
		_, err := open(r, size, tree.Options{})
		return err == nil
	}
	_, err := findAnchor(r, size)
	return err == nil
}

func open(r io.ReaderAt, size int64, o tree.Options) (tree.FileSystem, error) {
	memory := cmp.Or(o.Memory, defaultMemory)
	v := &volume{r: r, size: size, memory: memory,
		entries: lately.New[uint64, *entry](memory / 4),
		folders: lately.New[uint64, *names](memory / 2)}
	a, err := findAnchor(r, size)
	if err != nil {
		return nil, err
	}
	v.block = a.block
	d, err := v.describe(a)
	if err != nil {
		return nil, err
	}
	if err := v.addPartitions(d); err != nil {
		return nil, err
	}
	if err := v.findRoot(d); err != nil {
		return nil, err
	}
	v.inform(d)
	return v, nil
}

// Root returns the number of the root folder.
func (v *volume) Root() uint64 { return v.root }

// Info describes the volume.
func (v *volume) Info() tree.Info { return v.info }
