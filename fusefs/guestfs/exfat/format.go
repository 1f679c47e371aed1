package exfat

import (
	"cmp"
	"encoding/binary"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/clusters"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/lately"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Format reads exFAT.
var Format = tree.Format{Name: "exFAT", Probe: probe, Open: open}

var le = binary.LittleEndian

const (
	defaultMemory = 64 << 20
	rootIno       = 1 // lies within the boot sector: no entry has it
)

func probe(r io.ReaderAt, _ int64) bool {
	_, err := readBoot(r)
	return err == nil
}

// volume is an open exFAT. It does not change after open, but for its caches.
type volume struct {
	boot
	r        io.ReaderAt
	space    clusters.Space
	maxNames int // of a folder in memory
	upcase   *upcase
	bitmap   *clusters.Chain // of the clusters in use, nil where the root names none
	info     tree.Info

	tablePieces *lately.Cache[int64, []byte]
	folders     *lately.Cache[uint64, *index]
	entries     *clusters.Entries
}

var (
	_ tree.FileSystem = (*volume)(nil)
	_ tree.Counter    = (*volume)(nil)
)

func open(r io.ReaderAt, _ int64, o tree.Options) (tree.FileSystem, error) {
	b, err := readBoot(r)
	if err != nil {
		return nil, err
	}
	memory := cmp.Or(o.Memory, defaultMemory)
	v := &volume{boot: b, r: r,
		maxNames:    int(memory / 4 / hashedCost),
		tablePieces: lately.New[int64, []byte](memory / 4),
		folders:     lately.New[uint64, *index](memory / 4),
		entries:     clusters.NewEntries(r, memory/8),
	}
	v.space = clusters.Space{R: r, Data: b.heapAt, Cluster: b.cluster, Count: b.clusters, MaxRuns: int(max(memory/8/clusters.RunCost, 64)),
		Cursor: func() clusters.Cursor { return &cursor{v: v} }}
	v.describe()
	return v, nil
}

// Root returns the number of the root folder.
func (v *volume) Root() uint64 { return rootIno }
