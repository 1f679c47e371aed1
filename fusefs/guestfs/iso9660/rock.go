package iso9660

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	maxAreas    = 64 // continuations of the entries of one record
	maxArea     = 64 << 10
	maxName     = 255
	maxTarget   = 4096
	flagGoesOn  = 1 // of a name, a link and a link's component
	flagCurrent = 2
	flagParent  = 4
	flagRoot    = 8
)

// rock is what Rock Ridge says of one file.
type rock struct {
	name       string
	attributes bool // it has those that follow
	mode       uint32
	nlink      uint32
	uid, gid   uint32

	device       bool
	major, minor uint32
	times        [4]time.Time // made, changed, read, its attributes changed
	link         target
	child        uint32 // block of the folder that stands here, 0 for none
	moved        bool   // it stands elsewhere, and is not to be shown here
	zisofs       bool
	size         int64 // of a file that was compressed
	err          error // what kept the rest from being read
}

// rock reads the entries of a record and of the areas where they go on.
func (v *volume) rock(r record) (k rock) {
	use := r.use
	for areas := 0; use != nil; areas++ {
		if areas > maxAreas {
			k.err = &tree.CorruptError{What: "a directory record", Why: "its entries go on without end", At: r.at}
			return k
		}
		var next []byte
		for len(use) >= 4 {
			length := int(use[2])
			if length < 4 || length > len(use) {
				break // what is not used is filled with anything
			}
			e := use[:length]
			use = use[length:]
			if string(e[:2]) == "ST" {
				break
			}
			if string(e[:2]) != "CE" {
				k.add(e)
				continue
			}
			if next, k.err = v.area(e, r.at); k.err != nil {
				return k
			}
		}
		use = next
	}
	if k.link.tooLong {
		k.err = &tree.CorruptError{What: "a symbolic link", Why: fmt.Sprintf("its target has more than %d bytes", maxTarget), At: r.at}
	}
	return k
}

// area reads where the entries of a record go on.
func (v *volume) area(e []byte, at int64) ([]byte, error) {
	if len(e) < 28 {
		return nil, &tree.CorruptError{What: "a directory record", Why: "its continuation is cut short", At: at}
	}
	block, ok := both32(e[4:])
	offset, ok2 := both32(e[12:])
	size, ok3 := both32(e[20:])
	if !ok || !ok2 || !ok3 || size > maxArea || size == 0 {
		return nil, &tree.CorruptError{What: "a directory record", Why: fmt.Sprintf("%d bytes of it go on at block %d, %d", size, block, offset), At: at}
	}
	b := make([]byte, size)
	place := int64(block)*v.block + int64(offset)
	if err := tree.ReadFull(v.r, b, place); err != nil {
		return nil, fmt.Errorf("entries of the record at %d, which go on at %d of the volume: %w", at, place, err)
	}
	return b, nil
}

// add takes one entry. Those that are not known are passed over.
func (k *rock) add(e []byte) {
	n := func(at int) uint32 { return le.Uint32(e[at:]) }
	switch kind := string(e[:2]); {
	case kind == "NM" && len(e) >= 5:
		if e[4]&(flagCurrent|flagParent) == 0 && len(k.name)+len(e)-5 <= maxName {
			k.name += string(e[5:])
		}
	case kind == "PX" && len(e) >= 36:
		k.attributes, k.mode, k.nlink, k.uid, k.gid = true, n(4), n(12), n(20), n(28)
	case kind == "PN" && len(e) >= 20:
		k.device, k.major, k.minor = true, n(4), n(12)
		if k.major == 0 && k.minor > 0xFF {
			device := uint64(k.minor) // as the maker's system keeps it in one number
			k.major, k.minor = unix.Major(device), unix.Minor(device)
		}
	case kind == "TF" && len(e) >= 5:
		k.addTimes(e[4], e[5:])
	case kind == "SL" && len(e) >= 5:
		k.link.add(e[5:])
	case kind == "CL" && len(e) >= 12:
		k.child = n(4)
	case kind == "RE":
		k.moved = true
	case kind == "ZF" && len(e) >= 16:
		k.zisofs, k.size = true, int64(n(8))
	}
}

func (k *rock) addTimes(flags byte, b []byte) {
	width, parse := 7, shortTime
	if flags&0x80 != 0 {
		width, parse = 17, longTime
	}
	for i := range k.times {
		if flags>>i&1 == 0 {
			continue
		}
		if len(b) < width {
			return
		}
		k.times[i] = parse(b)
		b = b[width:]
	}
}

// target puts the target of a symbolic link together from its components.
type target struct {
	text    string
	open    bool // the last component goes on
	some    bool // there was one
	tooLong bool
}

func (t *target) add(components []byte) {
	for c := components; len(c) >= 2; {
		flags, n := c[0], int(c[1])
		if 2+n > len(c) {
			return
		}
		text := string(c[2 : 2+n])
		switch {
		case flags&flagCurrent != 0:
			text = "."
		case flags&flagParent != 0:
			text = ".."
		case flags&flagRoot != 0:
			text = "/"
		}
		if t.some && !t.open && !strings.HasSuffix(t.text, "/") {
			t.text += "/"
		}
		if t.tooLong = t.tooLong || len(t.text)+len(text) > maxTarget; t.tooLong {
			return
		}
		t.text += text
		t.some, t.open = true, flags&flagGoesOn != 0
		c = c[2+n:]
	}
}
