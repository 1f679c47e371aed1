package ext

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// The journal is jbd2's ("Journal (jbd2)" in the kernel's documentation of ext4).
// All its numbers have their highest byte first.
const (
	journalMagic = 0xC03B3998

	blockDescriptor = 1
	blockCommit     = 2
	blockSuperV1    = 3
	blockSuperV2    = 4
	blockRevoke     = 5

	journalCompatChecksum = 1
	journal64bit          = 2
	journalCsumV2         = 8
	journalCsumV3         = 0x10
	journalFast           = 0x20
	journalKnown          = 0x3F // and 1, revoke records

	journalHeader   = 12
	defaultFastArea = 256 // blocks
	minJournal      = 1024

	// journalWindow is how much of the journal one read takes.
	journalWindow = 256 << 10

	// copyCost is what a block's entry in the table costs while it is made.
	copyCost = 64
)

// journal reads the journal's blocks by their number in it.
type journal struct {
	v     *volume
	dev   io.ReaderAt // without any overlay
	runs  []run
	first uint64 // of the log
	last  uint64 // the block behind it
	total uint64 // blocks, those for fast commits included
	start uint64 // first block of the oldest transaction, 0: it is empty
	seq   uint32 // its number

	incompat uint32
	compat   uint32
	seed     uint32

	window     []byte
	windowAt   uint64 // the block that it begins with
	windowSize uint64 // blocks
}

// physical is where a block of the journal lies.
func (j *journal) physical(n uint64) (uint64, error) {
	r := fromList(j.runs, n)
	if n >= j.total || !r.data {
		return 0, fmt.Errorf("it has no block %d", n)
	}
	return r.physical, nil
}

// read returns a block, which is good until the next call.
func (j *journal) read(n uint64) ([]byte, error) {
	block := uint64(j.v.sb.blockSize)
	if n < j.windowAt || n >= j.windowAt+j.windowSize {
		at, err := j.physical(n)
		if err != nil {
			return nil, err
		}
		count := min(fromList(j.runs, n).count, j.total-n, uint64(len(j.window))/block)
		if err := tree.ReadFull(j.dev, j.window[:count*block], int64(at*block)); err != nil {
			j.windowSize = 0
			return nil, readError(at, int64(block), err)
		}
		j.windowAt, j.windowSize = n, count
	}
	return j.window[(n-j.windowAt)*block:][:block], nil
}

// next is the block behind one, going round at the end of the log.
func (j *journal) next(n uint64) uint64 {
	if n++; n >= j.last {
		return j.first
	}
	return n
}

// replay makes the volume what it would be after a mount by the guest, and says in
// info what became of the journal. A journal that cannot be replayed is no error.
// With a backup superblock, which does not tell whether it needs to be, the
// journal's own superblock decides.
func (v *volume) replay(fromBackup bool, memory int64) {
	v.info.Journal = tree.NoJournal
	if v.sb.compat&compatJournal == 0 {
		return
	}
	v.info.Journal = tree.Clean
	if v.sb.incompat&incompatRecover == 0 && !fromBackup {
		return
	}
	j, err := v.openJournal(memory)
	if err == nil && j.start == 0 {
		return
	}
	if err == nil {
		err = j.apply(memory)
	}
	if err != nil {
		v.info.Journal = tree.NotReplayed
		v.note("the journal was not replayed, files are shown as of its last checkpoint: %v", err)
		return
	}
	v.info.Journal = tree.Replayed
}

func (v *volume) openJournal(memory int64) (*journal, error) {
	if v.sb.journalIno == 0 {
		if v.sb.journalDev != 0 {
			return nil, errors.New("it lies on another device")
		}
		return nil, errors.New("the superblock does not say where it lies")
	}
	j := &journal{v: v, dev: v.dev, window: make([]byte, max(journalWindow, v.sb.blockSize))}
	if err := j.locate(memory); err != nil {
		return nil, err
	}
	b, err := j.read(0)
	if err != nil {
		return nil, err
	}
	return j, j.parseSuper(b)
}

// locate lists where the journal lies: by its inode, or by the copy of that in the
// superblock.
func (j *journal) locate(memory int64) error {
	v := j.v
	in, err := v.anyInode(v.sb.journalIno)
	if err == nil && in.kind() == modeFile {
		if err = j.list(&in, memory); err == nil {
			return nil
		}
	}
	if v.sb.journalBlocks == nil {
		if err == nil {
			err = damagedInode(v.sb.journalIno, "the journal is not a file")
		}
		return err
	}
	raw := make([]byte, v.sb.inodeSize)
	copy(raw[wordsAt:], v.sb.journalBlocks[:wordsSize])
	copy(raw[0x6C:], v.sb.journalBlocks[60:64])
	copy(raw[4:], v.sb.journalBlocks[64:68])
	in = inode{number: v.sb.journalIno, raw: raw, mode: modeFile, seed: in.seed}
	if le.Uint16(raw[wordsAt:]) == extentMagic {
		in.flags = flagExtents
	}
	return j.list(&in, memory)
}

func (j *journal) list(in *inode, memory int64) error {
	v := j.v
	size, err := v.sizeOf(in)
	if err != nil {
		return err
	}
	if j.total = uint64(size / v.sb.blockSize); j.total > v.present() {
		return damagedInode(in.number, "a journal of %d blocks", j.total)
	}
	m, err := v.mapping(in)
	if err != nil {
		return err
	}
	j.runs, err = v.listRuns(&m, j.total, int(memory/copyCost))
	return err
}

// listRuns collects the runs of a file that hold data or are allocated, no more
// than a limit.
func (v *volume) listRuns(m *mapping, total uint64, limit int) ([]run, error) {
	var runs []run
	for at := uint64(0); at < total; {
		r, err := v.merged(m, at, total)
		if err != nil {
			return nil, err
		}
		if at = r.end(); r.data {
			runs = append(runs, r)
		}
		if len(runs) > limit {
			return nil, fmt.Errorf("inode %d lies in more than %d pieces, which do not fit into memory", m.ino, limit)
		}
	}
	return slices.Clip(runs), nil
}

// parseSuper reads the journal's own superblock.
func (j *journal) parseSuper(b []byte) error {
	kind := be.Uint32(b[4:])
	if be.Uint32(b) != journalMagic || kind != blockSuperV1 && kind != blockSuperV2 {
		return errors.New("it has no superblock")
	}
	j.last = uint64(be.Uint32(b[0x10:]))
	j.first = uint64(be.Uint32(b[0x14:]))
	j.seq = be.Uint32(b[0x18:])
	j.start = uint64(be.Uint32(b[0x1C:]))
	if kind == blockSuperV2 {
		j.compat, j.incompat = be.Uint32(b[0x24:]), be.Uint32(b[0x28:])
	}
	if unknown := j.incompat &^ journalKnown; unknown != 0 {
		return fmt.Errorf("it has features that this reader does not know (%#x)", unknown)
	}
	if j.checked() {
		j.seed = crc32c(allOnes, b[0x30:0x40])
		crc := crc32c(allOnes, b[:0xFC])
		crc = crc32c(crc, zeros)
		if b[0x50] != 4 || crc32c(crc, b[0x100:0x400]) != be.Uint32(b[0xFC:]) {
			return errors.New("its superblock has another checksum")
		}
	}
	if int64(be.Uint32(b[0xC:])) != j.v.sb.blockSize || j.last > j.total {
		return fmt.Errorf("its superblock tells of %d blocks of %d bytes", j.last, be.Uint32(b[0xC:]))
	}
	j.total = j.last
	if j.incompat&journalFast != 0 {
		area := uint64(be.Uint32(b[0x54:]))
		if area == 0 {
			area = defaultFastArea
		}
		if j.last >= area+minJournal {
			j.last -= area
		}
	}
	if j.first == 0 || j.first >= j.last || j.start >= j.last || j.start != 0 && j.start < j.first {
		return fmt.Errorf("its superblock tells of blocks %d to %d, beginning at %d", j.first, j.last, j.start)
	}
	return nil
}

// checked: every block of the journal has a CRC-32C.
func (j *journal) checked() bool { return j.incompat&(journalCsumV2|journalCsumV3) != 0 }
