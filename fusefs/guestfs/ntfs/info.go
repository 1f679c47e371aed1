package ntfs

import (
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

const (
	// countUpTo is the size of a bitmap that Info counts: 32 GiB in clusters of 4 KiB.
	countUpTo = 1 << 20

	volumeDirty   = 0x0001
	volumeChkdsk  = 0x4000 // chkdsk was at work
	maxVolumeName = 256
)

// usage is what was counted of the bitmap.
type usage struct {
	once  sync.Once
	bytes int64
	err   error
}

// Info describes the volume.
func (v *volume) Info() tree.Info {
	info := v.info
	if v.clusters/8 <= countUpTo {
		if used, err := v.CountUsed(); err == nil {
			info.Used = used
		}
	}
	return info
}

// CountUsed counts $Bitmap, once.
func (v *volume) CountUsed() (int64, error) {
	v.used.once.Do(func() { v.used.bytes, v.used.err = v.countBitmap() })
	return v.used.bytes, v.used.err
}

func (v *volume) countBitmap() (int64, error) {
	n, err := v.inode(bitmapRecord)
	if err != nil {
		return 0, fmt.Errorf("bitmap of the volume: %w", err)
	}
	s, err := v.stream(n, kindData, "")
	if err != nil {
		return 0, fmt.Errorf("bitmap of the volume: %w", err)
	}
	used, piece := 0, make([]byte, 256<<10)
	for left, off := v.clusters, int64(0); left > 0; off += int64(len(piece)) {
		n, err := s.ReadAt(piece, off)
		if n < len(piece) && (err != io.EOF || int64(n)*8 < left) && int64(n)*8 < left {
			return 0, fmt.Errorf("bitmap of the volume: it has %d of %d bits: %w", (off+int64(n))*8, v.clusters, err)
		}
		for _, b := range piece[:min(left, int64(n)*8)/8] {
			used += bits.OnesCount8(b)
		}
		if left < int64(n)*8 && left%8 != 0 {
			used += bits.OnesCount8(piece[left/8] & (1<<(left%8) - 1))
		}
		left -= min(left, int64(n)*8)
	}
	return int64(used) * v.cluster, nil
}

// describe gathers what Info tells. Nothing of it is needed to read files: what
// is damaged becomes a note.
func (v *volume) describe() {
	v.info = tree.Info{Type: "ntfs", UUID: fmt.Sprintf("%016X", v.serial), Size: v.clusters * v.cluster, Used: -1,
		BlockSize: int(v.cluster), FoldsCase: true}
	if v.copied {
		v.note("the boot sector is damaged: its copy at the end of the volume was used")
	}
	upper, err := v.loadUpcase()
	if v.upper = upper; err != nil {
		v.note("the table of upper case is damaged (%v): that of Unicode is used", err)
	}
	if err := v.describeVolume(); err != nil {
		v.note("the record of the volume's label is damaged: %v", err)
	}
	var why string
	if v.info.Journal, why = v.journal(); why != "" {
		v.note("%s", why)
	}
	if v.hibernated() {
		v.note("the guest is hibernated, or was shut down by fast start-up: what it holds in memory is not on the volume")
	}
}

func (v *volume) note(format string, args ...any) {
	v.info.Notes = append(v.info.Notes, fmt.Sprintf(format, args...))
}

// describeVolume reads label, version and flags from the file $Volume.
func (v *volume) describeVolume() error {
	n, err := v.inode(volumeRecord)
	if err != nil {
		return err
	}
	if len(n.parts(kindVolumeName, "")) > 0 {
		label, err := v.value(n, kindVolumeName, "", maxVolumeName)
		if err != nil {
			return err
		}
		v.info.Label = wtf8.Decode(label)
	}
	b, err := v.value(n, kindVolumeInfo, "", 1<<10)
	if err != nil {
		return err
	}
	if len(b) < 12 {
		return &tree.CorruptError{What: "$Volume", Why: fmt.Sprintf("its information has %d bytes", len(b)), At: n.at}
	}
	if b[8] != 3 {
		v.note("it is NTFS %d.%d; 3.0 and 3.1 are known here", b[8], b[9])
	}
	switch flags := le.Uint16(b[10:]); {
	case flags&volumeChkdsk != 0:
		v.note("chkdsk was at work on the volume")
	case flags&volumeDirty != 0:
		v.note("the volume is marked dirty: Windows will check it before it is used")
	}
	return nil
}

// hibernated reports whether the root has the image of a hibernated Windows.
func (v *volume) hibernated() bool {
	ino, err := v.Lookup(v.root, "hiberfil.sys")
	if err != nil {
		return false
	}
	f, err := v.Open(ino)
	if err != nil {
		return false
	}
	var magic [4]byte
	_, err = f.ReadAt(magic[:], 0)
	return (err == nil || err == io.EOF) && (string(magic[:]) == "hibr" || string(magic[:]) == "HIBR")
}
