package iso9660

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

const (
	sectorSize     = 2048
	firstSector    = 16
	maxDescriptors = 64
	identifier     = "CD001"

	kindPrimary    = 1
	kindSecondary  = 2
	kindTerminator = 255

	rootRecordAt = 156 // in a descriptor
	rootRecord   = 34  // bytes
)

// descriptors are those of the volume that matter, nil where there is none.
type descriptors struct {
	primary, joliet     []byte
	primaryAt, jolietAt int64
	udf                 bool // the volume has one as well
}

func readDescriptors(r io.ReaderAt) (d descriptors, err error) {
	for sector := int64(firstSector); sector < firstSector+maxDescriptors; sector++ {
		b := make([]byte, sectorSize)
		if err := tree.ReadFull(r, b, sector*sectorSize); err != nil {
			if d.primary != nil {
				break
			}
			return d, fmt.Errorf("volume descriptor at %d: %w", sector*sectorSize, err)
		}
		switch id := string(b[1:6]); {
		case strings.HasPrefix(id, "NSR0"):
			d.udf = true
		case id == "BEA01" || id == "TEA01" || id == "BOOT2":
		case id != identifier:
			sector = firstSector + maxDescriptors // nothing follows
		case b[0] == kindPrimary && d.primary == nil:
			d.primary, d.primaryAt = b, sector*sectorSize
		case b[0] == kindSecondary && isJoliet(b):
			d.joliet, d.jolietAt = b, sector*sectorSize
		}
	}
	if d.primary == nil {
		return d, &tree.CorruptError{What: "the volume", Why: "it has no primary volume descriptor", At: firstSector * sectorSize}
	}
	return d, nil
}

// isJoliet tells by the escape sequence of UCS-2, level 1, 2 or 3.
func isJoliet(b []byte) bool {
	return b[88] == '%' && b[89] == '/' && bytes.IndexByte([]byte("@CE"), b[90]) >= 0
}

// begin chooses what names come from, and reads the root's record.
func (v *volume) begin(d descriptors) error {
	bad := func(why string, args ...any) error {
		return &tree.CorruptError{What: "the volume descriptor", Why: fmt.Sprintf(why, args...), At: d.primaryAt}
	}
	block, ok := both16(d.primary[128:])
	if v.block = int64(block); !ok || block != 512 && block != 1024 && block != 2048 {
		return bad("its blocks have %d bytes", block)
	}
	root, err := v.parseRecord(d.primary[rootRecordAt:rootRecordAt+rootRecord], d.primaryAt+rootRecordAt)
	if err != nil || !root.folder() {
		return bad("its root is none: %v", err)
	}
	v.root = root
	if self, err := v.self(&root); err == nil && v.findRockRidge(self) {
		return nil
	}
	if d.joliet != nil {
		root, err := v.parseRecord(d.joliet[rootRecordAt:rootRecordAt+rootRecord], d.jolietAt+rootRecordAt)
		if err == nil && root.folder() {
			v.root, v.naming = root, joliet
		}
	}
	return nil
}

// findRockRidge looks for the entry with which the root's own record says that
// the protocol is used, and for the attributes that only Rock Ridge has.
func (v *volume) findRockRidge(self record) bool {
	s := self.use
	if len(s) >= 14+7 && s[0] != 'S' { // 14 bytes of CD-ROM XA come before it
		s = s[14:]
	}
	if len(s) < 7 || string(s[:2]) != "SP" || s[2] != 7 || s[4] != 0xBE || s[5] != 0xEF {
		return false
	}
	self.use = s
	own := v.rock(self)
	if !own.attributes {
		return false
	}
	own.err, own.child, own.moved = nil, 0, false // nothing else of the root is needed
	v.root.rock, v.naming, v.skip = own, rockRidge, int(s[6])
	return true
}

func (v *volume) describe(d descriptors, size int64) {
	blocks, _ := both32(d.primary[80:])
	whole := int64(blocks) * v.block
	v.info = tree.Info{Type: "iso9660", Label: strings.TrimRight(string(d.primary[40:72]), " \x00"), UUID: dateID(d.primary),
		Size: whole, Used: whole, BlockSize: int(v.block), Journal: tree.NoJournal, FoldsCase: v.naming != rockRidge}
	if v.naming == joliet {
		if label := strings.TrimRight(bigEndian(d.joliet[40:72]), " \x00"); label != "" {
			v.info.Label = label
		}
	}
	v.info.Label = strings.ToValidUTF8(v.info.Label, "�")
	if whole > size {
		v.info.Notes = append(v.info.Notes, fmt.Sprintf("the image ends at %d of %d bytes", size, whole))
	}
	if d.udf {
		v.info.Notes = append(v.info.Notes, "it holds a UDF as well, whose files may be others than those that are shown")
	}
}

// dateID is the time of the last change, or of the making, as blkid prints it.
func dateID(b []byte) string {
	for _, at := range []int{830, 813} {
		s := string(b[at : at+16])
		if strings.Trim(s, "0\x00 ") == "" || strings.Trim(s, "0123456789") != "" {
			continue
		}
		return fmt.Sprintf("%s-%s-%s-%s-%s-%s-%s", s[:4], s[4:6], s[6:8], s[8:10], s[10:12], s[12:14], s[14:16])
	}
	return ""
}

// bigEndian decodes UTF-16 of that byte order.
func bigEndian(b []byte) string {
	little := make([]byte, len(b)&^1)
	for i := 0; i+2 <= len(b); i += 2 {
		little[i], little[i+1] = b[i+1], b[i]
	}
	return wtf8.Decode(little)
}

// both16 and both32 read a number that is kept in both byte orders.
func both16(b []byte) (uint16, bool) {
	l, g := le.Uint16(b), be.Uint16(b[2:])
	return l, l == g || g == 0
}

func both32(b []byte) (uint32, bool) {
	l, g := le.Uint32(b), be.Uint32(b[4:])
	return l, l == g || g == 0
}
