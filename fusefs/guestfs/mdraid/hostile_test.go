package mdraid

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/raid"
)

// mended makes the checksum of the superblock at `at` right, however it is.
func mended(b []byte, at int) []byte {
	s := b[at:]
	if binary.LittleEndian.Uint32(s[4:]) == 0 {
		binary.LittleEndian.PutUint32(s[4*v0Sum:], sum(s[:v0Block], 4*v0Sum))
		return b
	}
	count := min(int(binary.LittleEndian.Uint32(s[v1RoleCount:])), (v1Block-v1Roles)/2)
	binary.LittleEndian.PutUint32(s[v1Sum:], sum(s[:v1Roles+2*count], v1Sum))
	return b
}

func TestHostileSuperblocksAreErrors(t *testing.T) {
	t.Parallel()
	le := binary.LittleEndian
	for want, change := range map[string]func(s []byte){
		"being reshaped":     func(s []byte) { s[v1Features] |= featureReshape },
		"journal":            func(s []byte) { le.PutUint32(s[v1Features:], featureJournal) },
		"not known":          func(s []byte) { le.PutUint32(s[v1Features:], 1<<20) },
		"level 7":            func(s []byte) { le.PutUint32(s[v1Level:], 7) },
		"chunks of 0":        func(s []byte) { le.PutUint32(s[v1Chunk:], 0) },
		"chunks of 21990":    func(s []byte) { le.PutUint32(s[v1Chunk:], 0xffffffff) },
		"layout 77":          func(s []byte) { le.PutUint32(s[v1Layout:], 77) },
		"members, which":     func(s []byte) { le.PutUint32(s[v1Disks:], 0xffffffff) },
		"0 members":          func(s []byte) { le.PutUint32(s[v1Disks:], 0) },
		"says that its data": func(s []byte) { le.PutUint64(s[v1DataOff:], 1<<40) },
		"has 18446744073709": func(s []byte) { le.PutUint64(s[v1DataLen:], 1<<64-1) },
		"missing":            func(s []byte) { le.PutUint32(s[v1Disks:], 20) },
		"sectors at byte":    func(s []byte) { le.PutUint64(s[v1Size:], 1<<60) },
	} {
		members, _ := fixture(t, "raid5-left-symmetric")
		var list []Device
		var err error
		for i, b := range members {
			change(b[4096:])
			mended(b, 4096)
			var s *Super
			if s, err = ReadSuper(bytes.NewReader(b), int64(len(b))); err != nil {
				break
			}
			list = append(list, Device{string(rune('a' + i)), bytes.NewReader(b), int64(len(b)), s})
		}
		if err == nil {
			a := Assemble(list)[0]
			if err = a.Err; err == nil {
				t.Errorf("%q is believed: %+v", want, a)
				continue
			}
			if _, err := a.ReadAt(make([]byte, 10), 0); err == nil {
				t.Errorf("%q can be read", want)
			}
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestADamagedSuperblockIsNone(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"raid1", "raid1-end", "raid1-old"} {
		members, _ := fixture(t, name)
		b := members[0]
		i := bytes.Index(b, []byte{0xfc, 0x4e, 0x2b, 0xa9})
		b[i+40] ^= 1
		if _, err := ReadSuper(bytes.NewReader(b), int64(len(b))); err != ErrNotMember {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, size := range []int{0, 100, 4096, 70_000} {
		if _, err := ReadSuper(bytes.NewReader(make([]byte, size)), int64(size)); err != ErrNotMember {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// broken fails where it is read, as a damaged block of a vault does.
type broken struct{ *bytes.Reader }

var errBroken = errors.New("broken")

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off < 200<<10 && off+int64(len(p)) > 190<<10 {
		return 0, errBroken
	}
	return b.Reader.ReadAt(p, off)
}

func TestWhatOneMemberCannotGiveComesFromTheOthers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"raid1", "raid5-left-symmetric", "raid6-ddf-N-continue", "raid10-o2", "raid10-f2"} {
		members, want := fixture(t, name)
		list := devices(t, members)
		list[1].R = broken{bytes.NewReader(members[1])}
		if a := Assemble(list)[0]; a.Err != nil || digest(t, a) != want {
			t.Errorf("%s: %+v", name, a)
		}
	}
	members, _ := fixture(t, "raid0")
	list := devices(t, members)
	list[1].R = broken{bytes.NewReader(members[1])}
	a := Assemble(list)[0]
	if _, err := a.ReadAt(make([]byte, a.Size), 0); !errors.Is(err, errBroken) {
		t.Errorf("raid0: %v", err)
	}
}

func TestAMemberThatIsBeingFilledCountsAsFarAsItIs(t *testing.T) {
	t.Parallel()
	members, want := fixture(t, "raid5-left-symmetric")
	s := members[2][4096:]
	s[v1Features] |= featureFilling
	binary.LittleEndian.PutUint64(s[v1FilledTo:], 300)
	mended(members[2], 4096)
	off := int(binary.LittleEndian.Uint64(s[v1DataOff:])) * 512
	clear(members[2][off+300*512:])
	if a := one(t, members); a.Err != nil || digest(t, a) != want {
		t.Errorf("%+v", a)
	}
	if a := one(t, slices.Concat(members[:1], [][]byte{nil}, members[2:])); a.Err == nil {
		if _, err := a.ReadAt(make([]byte, a.Size), 0); err == nil {
			t.Error("what no member has was read")
		}
	} else if !errors.Is(a.Err, raid.ErrTooFew) {
		t.Error(a.Err)
	}
}

// FuzzAssemble changes superblocks behind their checksums.
func FuzzAssemble(f *testing.F) {
	for i := range 3 {
		f.Add(i, []byte{72, 0, 6, 76, 0, 9})
	}
	f.Fuzz(func(t *testing.T, which int, changes []byte) {
		name := []string{"raid6-left-symmetric", "raid10-old", "linear"}[uint(which)%3]
		members, _ := fixture(t, name)
		var list []Device
		for i, b := range members {
			at := bytes.Index(b, []byte{0xfc, 0x4e, 0x2b, 0xa9})
			for c := changes; len(c) >= 3; c = c[3:] {
				b[at+(int(c[0])|int(c[1])<<8)%v0Block] ^= c[2]
			}
			mended(b, at)
			if s, err := ReadSuper(bytes.NewReader(b), int64(len(b))); err == nil {
				list = append(list, Device{string(rune('a' + i)), bytes.NewReader(b), int64(len(b)), s})
			}
		}
		for _, a := range Assemble(list) {
			p := make([]byte, 100_000)
			for _, off := range []int64{0, 12345, a.Size / 2, a.Size - 100} {
				a.ReadAt(p, off)
			}
		}
	})
}
