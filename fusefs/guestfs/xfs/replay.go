package xfs

import (
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Kinds of items that matter to a reader (XFS_LI_*).
const (
	itemInode  = 0x123b
	itemBuffer = 0x123c
	itemCreate = 0x123f // inodes that were made, as their first blocks
	itemMap    = 0x1244 // promises to change a file's map, and that it was done
	itemMapped = 0x1245
	itemAttr   = 0x1246 // the same of an attribute
	itemAttred = 0x1247
	itemSwap   = 0x1248 // the same of two files' contents
	itemSwaped = 0x1249
)

// maxWork bounds the bytes that a replay handles, whatever the log claims.
const maxWork = 8 << 30

// bufferKey is what a buffer is called in the log: its first sector and how many.
type bufferKey struct {
	sector int64
	n      int
}

// replay applies what the log holds in memory and says in the volume's Info what
// became of it.
func (v *volume) replay(memory int64) {
	if v.logStart == 0 {
		v.info.Journal = tree.NotReplayed
		v.note("its log lies on a device of its own, which is not read: what was written last may be missing")
		return
	}
	at, ok := v.address(v.logStart, v.logBlocks)
	if !ok || v.logBlocks == 0 {
		v.refuse(fmt.Errorf("it does not lie in the volume"))
		return
	}
	j := &journal{v: v, r: v.r, at: at, sectors: int64(v.logBlocks) * int64(v.block) / sectorSize}
	s, err := j.find()
	if err != nil {
		v.refuse(err)
		return
	}
	if s.clean {
		return
	}
	if unknown := v.logIncompat &^ logIncompatXattrs; unknown != 0 {
		v.refuse(fmt.Errorf("it has features that are not known here (%#x)", unknown))
		return
	}
	p := newReplayer(v, memory)
	if err := p.both(j, s); err != nil {
		v.refuse(err)
		return
	}
	p.over.freeze()
	v.r, v.over = p.over, p.over
	v.info.Journal = tree.Replayed
	v.newSuper()
	p.finish()
}

// refuse says why the log was not replayed.
func (v *volume) refuse(err error) {
	v.info.Journal = tree.NotReplayed
	why := err.Error()
	if errors.Is(err, errMemory) {
		why = errMemory.Error()
	}
	v.note("its log was not replayed, what was written last is missing and some files may be wrong: " + why)
}

// newSuper takes over what the log changed in the superblock, as when the file
// system grew. Its checksum is made when it goes to its place.
func (v *volume) newSuper() {
	b := make([]byte, v.sector)
	if v.at != 0 || !v.over.touches(0, int64(v.sector)) || v.readAt(b, 0) != nil {
		return
	}
	if v.v5 {
		le.PutUint32(b[224:], crcWithout(b, 224))
	}
	s, err := parseSuper(b, 0)
	if err != nil || s.block != v.block || s.agBlocks != v.agBlocks || s.inode != v.super.inode || s.v5 != v.v5 || s.root != v.root {
		v.note("the superblock in its log does not fit to that of the volume and was passed over")
		return
	}
	v.super = *s
	v.info.Size, v.info.Label = int64(s.blocks)*int64(s.block), s.label
}

// replayer applies committed transactions to an overlay.
type replayer struct {
	v        *volume
	over     *overlay
	room     *budget
	canceled map[bufferKey]int // buffers that were freed later, and how often
	freed    map[int64]int     // their first sectors
	promises promises
	turn     int // of the last promise
	skipped  int // items that could not be applied
	work     int64
}

func newReplayer(v *volume, memory int64) *replayer {
	room := &budget{memory}
	return &replayer{v: v, room: room, canceled: map[bufferKey]int{}, freed: map[int64]int{}, promises: promises{},
		over: &overlay{base: v.r, page: int64(min(v.block, 4096)), end: min(v.size, int64(v.blocks)*int64(v.block)), pages: map[int64][]byte{}, room: room}}
}

// both goes through the log twice: which buffers were freed later must be known
// before anything is written, or metadata would lie over what took its place.
func (p *replayer) both(j *journal, s span) error {
	first := &assembler{open: map[uint32]*transaction{}, room: p.room, firstOnly: true, commit: p.note}
	if err := j.run(s, first); err != nil {
		return err
	}
	for _, t := range first.open {
		p.room.left += t.cost
	}
	return j.run(s, &assembler{open: map[uint32]*transaction{}, room: p.room, commit: p.apply})
}

// note is the first pass over a transaction.
func (p *replayer) note(t *transaction) error {
	for _, i := range t.items {
		f, ok := p.buffer(i)
		if !ok || f.flags&bufferCancel == 0 {
			continue
		}
		if p.canceled[f.key] == 0 {
			if err := p.room.take(2 * pageOverhead); err != nil {
				return err
			}
			p.freed[f.key.sector]++
		}
		p.canceled[f.key]++
	}
	return nil
}

// apply is the second pass over a transaction. Buffers go before inodes, which may
// lie in one that was made by the same transaction; those that are freed come last.
func (p *replayer) apply(t *transaction) error {
	rank := func(i *item) int {
		switch i.kind() {
		case itemCreate:
			return 0
		case itemBuffer:
			switch f, _ := p.buffer(i); {
			case f.flags&bufferCancel != 0:
				return 3
			case f.flags&bufferInodes != 0:
				return 2
			}
			return 0
		}
		return 1
	}
	t.items = slices.DeleteFunc(t.items, func(i *item) bool {
		if i.have < i.total || len(i.regions[0]) < 4 {
			p.skipped++
			return true
		}
		return false
	})
	slices.SortStableFunc(t.items, func(a, b *item) int { return rank(a) - rank(b) })
	for _, i := range t.items {
		if err := p.item(i, t.lsn); err != nil {
			return err
		}
		if p.work > maxWork {
			return errors.New("it asks for more work than any log of its size does")
		}
	}
	return nil
}

// item applies one change. An error ends the replay; what is merely not as it must
// be is counted and passed over, as it harms its own place alone.
func (p *replayer) item(i *item, lsn uint64) error {
	var err error
	switch i.kind() {
	case itemBuffer:
		err = p.applyBuffer(i, lsn)
	case itemInode:
		err = p.applyInode(i, lsn)
	case itemCreate:
		err = p.applyCreate(i.regions[0])
	case itemMap, itemAttr, itemSwap:
		p.turn++
		err = p.promises.add(i, p.turn, p.room)
	case itemMapped, itemAttred, itemSwaped:
		p.promises.done(i)
	}
	var bad *tree.CorruptError
	if errors.As(err, &bad) || errors.Is(err, errShape) {
		p.skipped++
		return nil
	}
	return err
}

// errShape says that an item is not as its kind is.
var errShape = errors.New("an item is not as its kind is")

// finish fulfils what the log promised and tells what could not be done.
func (p *replayer) finish() {
	if p.skipped > 0 {
		p.v.note(fmt.Sprintf("%d changes in its log are damaged and were passed over", p.skipped))
	}
	p.keepPromises()
}
