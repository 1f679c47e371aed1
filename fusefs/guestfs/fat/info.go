package fat

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	// countUpTo is how large a table is that is counted where FSInfo does not tell.
	countUpTo = 1 << 20

	infoLead, infoStruct, infoTail = 0x41615252, 0x61417272, 0xAA550000
)

// Info describes the volume.
func (v *volume) Info() tree.Info { return v.info }

// describe chooses the table to read and gathers what Info tells.
func (v *volume) describe() {
	v.info = tree.Info{Type: "vfat", UUID: fmt.Sprintf("%04X-%04X", v.serial>>16, v.serial&0xFFFF), Used: -1,
		Size: int64(v.clusters) * v.cluster, BlockSize: int(v.cluster), Journal: tree.NoJournal, FoldsCase: true}
	if v.copied {
		v.note("the boot sector is damaged: its copy was used")
	}
	if !v.intact(v.active) && v.mirrored {
		for other := range v.tables {
			if v.intact(other) {
				v.note("the file allocation table %d is damaged: %d is used", v.active+1, other+1)
				v.active = other
				break
			}
		}
	}
	v.info.Label = v.label()
	v.describeState()
	if free, ok := v.free(); ok {
		v.info.Used = v.info.Size - free*v.cluster
	} else if v.tableSize <= countUpTo {
		if n, err := v.CountUsed(); err == nil {
			v.info.Used = n
		}
	}
}

func (v *volume) note(format string, args ...any) {
	v.info.Notes = append(v.info.Notes, fmt.Sprintf(format, args...))
}

// label is the one in the root folder, else that of the boot sector.
func (v *volume) label() string {
	root, _ := v.entry(rootIno)
	for raw, err := range v.raw(root) {
		if err != nil {
			break
		}
		if raw.B[0] != markFree && raw.B[11]&attrMask != attrLong && raw.B[11]&attrLabel != 0 {
			return decode(v.page, raw.B[:11], false)
		}
	}
	return decode(v.page, v.bootLabel(), false)
}

// describeState notes that the volume was in use: Windows clears bits of the
// table's second entry, Linux sets one of the boot sector.
func (v *volume) describeState() {
	c := cursor{v: v}
	second, err := c.entry(v.active, 1)
	if err != nil {
		return
	}
	top := uint32(1) << (min(v.bits, 28) - 1)
	switch {
	case v.bits > 12 && second&(top>>1) == 0:
		v.note("the volume had errors of its disk: it is marked to be checked")
	case v.bits > 12 && second&top == 0, v.state&stateDirty != 0:
		v.note("the volume was in use: it is marked dirty")
	}
}

// free is the count of free clusters that FAT32's FSInfo keeps, where it can be.
func (v *volume) free() (int64, bool) {
	if v.infoAt == 0 {
		return 0, false
	}
	b := make([]byte, 512)
	if tree.ReadFull(v.r, b, v.infoAt) != nil || le.Uint32(b) != infoLead || le.Uint32(b[484:]) != infoStruct || le.Uint32(b[508:]) != infoTail {
		return 0, false
	}
	n := le.Uint32(b[488:])
	return int64(n), n <= v.clusters
}
