package exfat

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/clusters"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

// countUpTo is how large a bitmap is that is counted when the volume is opened.
const countUpTo = 1 << 20

// Info describes the volume.
func (v *volume) Info() tree.Info { return v.info }

func (v *volume) note(format string, args ...any) {
	v.info.Notes = append(v.info.Notes, fmt.Sprintf(format, args...))
}

// describe reads what the root folder says of the volume, and gathers what Info tells.
func (v *volume) describe() {
	v.info = tree.Info{Type: "exfat", UUID: fmt.Sprintf("%04X-%04X", v.serial>>16, v.serial&0xFFFF), Used: -1,
		Size: int64(v.clusters) * v.cluster, BlockSize: int(v.cluster), Journal: tree.NoJournal, FoldsCase: true}
	if v.damaged != "" {
		v.note("%s", v.damaged)
	}
	if v.flags&flagMediaFailed != 0 {
		v.note("the volume had errors of its disk: it is marked to be checked")
	}
	if v.flags&flagDirty != 0 {
		v.note("the volume was in use: it is marked dirty")
	}
	root, _ := v.set(rootIno)
	for raw, err := range v.raw(root) {
		if err != nil {
			break
		}
		v.system(raw)
	}
	if v.upcase == nil {
		v.note("the table of upper case is damaged or missing: Unicode's is used")
		v.upcase = standard()
	}
	if v.bitmap != nil && (v.clusters+7)/8 <= countUpTo {
		if n, err := v.CountUsed(); err == nil {
			v.info.Used = n
		}
	}
}

// system takes an entry of the root that speaks of the volume itself. Of two
// bitmaps the one counts that belongs to the table in use.
func (v *volume) system(e clusters.Entry) {
	switch e.B[0] {
	case typeLabel:
		v.info.Label = wtf8.Decode(e.B[2 : 2+2*min(int(e.B[1]), 11)])
	case typeBitmap:
		if uint16(e.B[1]&1) != v.flags&flagSecondTable && v.bitmap != nil {
			return
		}
		size := int64(le.Uint64(e.B[24:]))
		c := &clusters.Chain{Space: &v.space, What: "the allocation bitmap", At: e.At, First: le.Uint32(e.B[20:]), Size: size, Written: size}
		if err := c.Check(); err == nil {
			v.bitmap = c
		}
	case typeUpcase:
		if u, err := v.readUpcase(e); err == nil && v.upcase == nil {
			v.upcase = u
		}
	}
}
