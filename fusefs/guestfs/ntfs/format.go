package ntfs

import (
	"cmp"
	"fmt"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/lately"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Format reads NTFS.
var Format = tree.Format{Name: "NTFS", Probe: probe, Open: open}

const defaultMemory = 64 << 20

func probe(r io.ReaderAt, size int64) bool {
	_, err := readBoot(r, size)
	return err == nil
}

// volume is an open NTFS. What it holds does not change after open, but for the
// caches, which guard themselves.
type volume struct {
	boot
	r     io.ReaderAt
	size  int64 // what r holds
	table *table
	upper *upcase
	root  uint64
	info  tree.Info
	used  usage

	records *lately.Cache[int64, []byte]  // pieces of the file table by number
	inodes  *lately.Cache[uint64, *inode] // by record number
	runs    *lately.Cache[runsKey, []run] // decoded mapping pairs
	// Records that others go on in, by number.
	extensions *lately.Cache[uint64, *record]
	blocks     *lately.Cache[blockKey, []byte] // index blocks, checked
	units      *lately.Cache[unitKey, []byte]  // decompressed
}

var (
	_ tree.FileSystem = (*volume)(nil)
	_ tree.Streamer   = (*volume)(nil)
	_ tree.Counter    = (*volume)(nil)
)

// open reads the boot sector, where the file table lies, and the table of upper
// case; then what Info tells.
func open(r io.ReaderAt, size int64, o tree.Options) (tree.FileSystem, error) {
	b, err := readBoot(r, size)
	if err != nil {
		return nil, err
	}
	memory := cmp.Or(o.Memory, defaultMemory)
	v := &volume{boot: b, r: r, size: size,
		records:    lately.New[int64, []byte](memory / 4),
		inodes:     lately.New[uint64, *inode](memory / 16),
		extensions: lately.New[uint64, *record](memory / 16),
		runs:       lately.New[runsKey, []run](memory / 8),
		blocks:     lately.New[blockKey, []byte](memory / 8),
		units:      lately.New[unitKey, []byte](memory / 8),
	}
	if err := v.openTable(memory / 8); err != nil {
		return nil, err
	}
	root, err := v.inode(rootRecord)
	if err != nil {
		return nil, fmt.Errorf("the root folder: %w", err)
	}
	if !root.dir {
		return nil, &tree.CorruptError{What: "the root folder", Why: "it is a file", At: root.at}
	}
	v.root = root.reference()
	v.describe()
	return v, nil
}

// Root returns the reference of the root folder.
func (v *volume) Root() uint64 { return v.root }
