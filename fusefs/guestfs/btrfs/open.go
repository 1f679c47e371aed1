package btrfs

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/lately"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Format is btrfs, over one volume or several.
var Format = tree.Format{Name: "btrfs", Probe: probe, Open: open, Member: member, OpenSet: openSet}

const (
	defaultMemory = 64 << 20
	minMemory     = 4 << 20
)

// volume is an open btrfs. Nothing of it changes after open but what guards itself: it
// may be used from several goroutines.
type volume struct {
	super
	devices map[uint64]device // by id
	chunks  chunks
	roots   table // the tree of roots
	sumRoot *table
	nodes   *lately.Cache[uint64, *node]
	plain   *lately.Cache[packedKey, []byte] // what was decompressed
	subs    *lately.Cache[uint64, *subvolume]
	logged  map[uint64]*overlay // of subvolumes that have a log
	logSums *table              // checksums of data that stand in the log alone
	info    tree.Info
	listing sync.Once // sets what follows
	listed  []tree.Subvolume
	listErr error
}

// probe looks for the superblock or one of its copies.
func probe(r io.ReaderAt, size int64) bool {
	b := make([]byte, len(superMagic))
	for _, at := range superPlaces {
		if at+superSize > size {
			return false
		}
		if n, _ := r.ReadAt(b, at+64); n == len(b) && string(b) == superMagic {
			return true
		}
	}
	return false
}

// member tells which file system a volume is part of.
func member(r io.ReaderAt, size int64) (tree.Member, error) {
	s, _, err := findSuper(r, size)
	if err != nil {
		return tree.Member{}, err
	}
	return tree.Member{Set: uuidText(s.fsid), Device: s.device, Of: int(min(s.devices, 1<<16))}, nil
}

func open(r io.ReaderAt, size int64, o tree.Options) (tree.FileSystem, error) {
	return openSet([]tree.Part{{R: r, Size: size}}, o)
}

// openSet reads the mapping and the tree of roots, and replays the log.
func openSet(parts []tree.Part, o tree.Options) (tree.FileSystem, error) {
	v, err := gather(parts)
	if err != nil {
		return nil, err
	}
	memory := o.Memory
	if memory <= 0 {
		memory = defaultMemory
	}
	memory = max(memory, minMemory)
	v.nodes = lately.New[uint64, *node](memory / 4)
	v.plain = lately.New[packedKey, []byte](memory / 8)
	v.subs = lately.New[uint64, *subvolume](memory / 32)
	v.chunks.memory = memory / 8
	if err := v.readChunks(); err != nil {
		return nil, err
	}
	v.roots = table{v: v, root: v.super.root}
	if err := v.findSums(); err != nil {
		return nil, err
	}
	v.info = tree.Info{Type: "btrfs", Label: v.label, UUID: uuidText(v.fsid), Size: int64(v.size), Used: int64(min(v.used, v.size)),
		BlockSize: v.sector, Journal: tree.Clean, Notes: v.info.Notes}
	v.noteState()
	v.replay(memory / 4)
	v.subs = lately.New[uint64, *subvolume](memory / 32) // what was opened before knew no log
	root, err := v.stat(inodeNumber{topLevel, firstFree})
	if err == nil && !root.is(typeFolder) {
		err = root.bad("the root is not a folder")
	}
	if err != nil {
		return nil, fmt.Errorf("open the root: %w", err)
	}
	v.noteDefault()
	return v, nil
}

// gather reads the superblocks. The newest tells where the trees are; a device that
// lags behind gives stale blocks, which are told by their generation.
func gather(parts []tree.Part) (*volume, error) {
	v := &volume{devices: map[uint64]device{}}
	var first error
	var all []*super
	for _, p := range parts {
		s, note, err := findSuper(p.R, p.Size)
		if err == nil && len(all) > 0 && s.fsid != all[0].fsid {
			err = corrupt("the set of devices", "they belong to different file systems, %s and %s", uuidText(all[0].fsid), uuidText(s.fsid))
		}
		if err != nil {
			first = errors.Join(first, err)
			continue
		}
		v.note(note)
		all = append(all, s)
		if _, twice := v.devices[s.device]; twice {
			v.note(fmt.Sprintf("device %d is there twice: the first was taken", s.device))
			continue
		}
		v.devices[s.device] = device{p.R, p.Size}
		if p.Size < int64(s.deviceSize) {
			v.note(fmt.Sprintf("%s is %d bytes shorter than it was made", (&volume{super: *s}).deviceName(s.device), int64(s.deviceSize)-p.Size))
		}
	}
	if len(all) == 0 {
		return nil, first
	}
	best := slices.MaxFunc(all, func(a, b *super) int { // the first of the newest
		if a.generation < b.generation {
			return -1
		}
		if a.generation > b.generation {
			return 1
		}
		return 0
	})
	v.super = *best
	for _, s := range all {
		if s.generation < best.generation {
			v.note(fmt.Sprintf("device %d lags behind the others: it has generation %d, they have %d", s.device, s.generation, best.generation))
		}
	}
	return v, v.refuse()
}

// readChunks reads the mapping: the part that the superblock has, then the tree.
func (v *volume) readChunks() error {
	if err := v.chunks.addArray(v.array); err != nil {
		return err
	}
	for i, err := range v.scan(v.chunkRoot, key{0, 0, 0}, lastKey) {
		if err != nil {
			return fmt.Errorf("read the chunk tree: %w", err)
		}
		if i.kind != typeChunk {
			continue
		}
		c, _, err := parseChunk(i.off, i.b)
		if err == nil {
			err = v.chunks.add(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *volume) note(text string) {
	if text != "" {
		v.info.Notes = append(v.info.Notes, text)
	}
}

// noteState tells what a person should know of the file system as it stands.
func (v *volume) noteState() {
	if v.flags&flagError != 0 {
		v.note("the guest met errors in it")
	}
	if have := uint64(len(v.devices)); have < v.super.devices {
		v.note(fmt.Sprintf("%d of its %d devices are not among the disks: what lies on them alone cannot be read", v.super.devices-have, v.super.devices))
	}
}

// Info implements tree.FileSystem.
func (v *volume) Info() tree.Info {
	i := v.info
	i.Notes = slices.Clone(i.Notes)
	return i
}

func uuidText(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
