package fat

import (
	"cmp"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/clusters"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/lately"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Format reads FAT12, FAT16 and FAT32.
var Format = tree.Format{Name: "FAT", Probe: probe, Open: open}

const (
	defaultMemory = 64 << 20
	rootIno       = 1 // lies within the boot sector: no entry has it
)

func probe(r io.ReaderAt, size int64) bool {
	_, err := readBoot(r)
	return err == nil
}

// volume is an open FAT. It does not change after open, but for its caches.
type volume struct {
	boot
	r     io.ReaderAt
	page  *codePage
	space clusters.Space
	info  tree.Info

	tablePieces *lately.Cache[tableKey, []byte]
	folders     *lately.Cache[uint64, *names]
	entries     *clusters.Entries
}

var (
	_ tree.FileSystem = (*volume)(nil)
	_ tree.Counter    = (*volume)(nil)
)

func open(r io.ReaderAt, size int64, o tree.Options) (tree.FileSystem, error) {
	page, err := codePageOf(o.CodePage)
	if err != nil {
		return nil, err
	}
	b, err := readBoot(r)
	if err != nil {
		return nil, err
	}
	memory := cmp.Or(o.Memory, defaultMemory)
	v := &volume{boot: b, r: r, page: page,
		tablePieces: lately.New[tableKey, []byte](memory / 4),
		folders:     lately.New[uint64, *names](memory / 4),
		entries:     clusters.NewEntries(r, memory/8),
	}
	v.space = clusters.Space{R: r, Data: b.dataAt, Cluster: b.cluster, Count: b.clusters, MaxRuns: int(max(memory/8/clusters.RunCost, 64)),
		Cursor: func() clusters.Cursor { return &cursor{v: v} }}
	v.describe()
	return v, nil
}

// Root returns the number of the root folder.
func (v *volume) Root() uint64 { return rootIno }
