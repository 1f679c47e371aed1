package xfs

import (
	"fmt"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Format is XFS, versions 4 and 5.
var Format = tree.Format{Name: "XFS", Probe: probe, Open: open}

const (
	defaultMemory = 64 << 20
	minMemory     = 1 << 20
	maxCache      = 16 << 20
)

// probe looks for the superblock, or for the heads of the first group behind one
// that is damaged.
func probe(r io.ReaderAt, size int64) bool {
	b := make([]byte, 4)
	is := func(at int64, magic uint32) bool {
		n, _ := r.ReadAt(b, at)
		return n == len(b) && at+int64(len(b)) <= size && be.Uint32(b) == magic
	}
	if size < 1<<20 {
		return false
	}
	if is(0, magicSuper) {
		return true
	}
	for _, sector := range []int64{512, 4096} {
		if is(sector, magicFreeHead) && is(2*sector, magicInodeHead) {
			return true
		}
	}
	return false
}

// open reads the superblock and replays the log.
func open(r io.ReaderAt, size int64, o tree.Options) (tree.FileSystem, error) {
	s, note, err := findSuper(r, size)
	if err != nil {
		return nil, err
	}
	memory := o.Memory
	if memory <= 0 {
		memory = defaultMemory
	}
	memory = max(memory, minMemory)
	forCache := min(memory/4, maxCache)
	v := &volume{super: *s, size: size, r: r, cache: newCache(forCache)}
	v.info = tree.Info{Type: "xfs", Label: s.label, UUID: uuidText(s.uuid), BlockSize: s.block, FoldsCase: s.folds, Journal: tree.Clean,
		Size: int64(s.blocks) * int64(s.block)}
	v.note(note)
	v.noteFeatures()
	v.replay(memory - forCache)
	v.info.Used = v.used()
	root, err := v.inode(v.root)
	if err == nil && !root.is(typeDir) {
		err = root.bad("the root is not a folder")
	}
	if err != nil {
		return nil, fmt.Errorf("open the root: %w", err)
	}
	return v, nil
}

func (v *volume) note(text string) {
	if text != "" {
		v.info.Notes = append(v.info.Notes, text)
	}
}

// noteFeatures tells what a person should know of the volume's superblock.
func (v *volume) noteFeatures() {
	if v.incompat&incompatRepair != 0 {
		v.note("xfs_repair began on it and did not end: some of it may be damaged")
	}
	if v.incompat&incompatZoned != 0 || v.rtStart != 0 {
		v.note("it has a realtime part: files in it are listed and cannot be read")
	}
	if end := int64(v.blocks) * int64(v.block); v.size < end {
		v.note(fmt.Sprintf("the volume ends %d bytes before the file system does", end-v.size))
	}
}

func uuidText(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
