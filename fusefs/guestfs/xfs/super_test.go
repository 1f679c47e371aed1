package xfs

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// edit makes an image of a fixture that can be changed.
func editable(t testing.TB, name string) (*edited, *super, []byte) {
	t.Helper()
	image, report := fixture(t, name)
	s, err := parseSuper(image[:sectorSize], 0)
	if err != nil {
		t.Fatal(err)
	}
	return &edited{base: image, pages: map[int64][]byte{}}, s, report
}

func TestADamagedSuperblockIsReadFromACopyAndSaysSo(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(e *edited){
		"its first sector is gone":  func(e *edited) { e.write(0, make([]byte, sectorSize)) },
		"its first block is gone":   func(e *edited) { e.write(0, make([]byte, 4096)) },
		"a bit of it has flipped":   func(e *edited) { e.write(84, []byte{1}) },
		"it says too large a block": func(e *edited) { e.write(4, []byte{0, 1, 0, 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, s, report := editable(t, "v5-ci")
			damage(e)
			if name != "its first block is gone" && !Format.Probe(e, int64(len(e.base))) {
				t.Error("the volume is not taken for XFS any more")
			}
			v, err := Format.Open(e, int64(len(e.base)), tree.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if i := v.Info(); len(i.Notes) != 1 || !strings.Contains(i.Notes[0], "the copy at") || i.Size != int64(s.blocks)*int64(s.block) {
				t.Errorf("the volume says %+v", i)
			}
			sameDigest(t, exact.Ours(t, v), report)
		})
	}
}

func TestWhatCannotBeReadIsRefusedByName(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(e *edited, s *super){
		"incompatible features that are not known here: bits 0x4000": func(e *edited, s *super) {
			e.write(216, []byte{0, 0, 0x40, byte(s.incompat)})
			e.fix(s, 0)
		},
		"XFS of version 3": func(e *edited, s *super) { e.write(100, []byte{0, 3}) },
	} {
		e, s, _ := editable(t, "v5-ci")
		change(e, s)
		_, err := Format.Open(e, int64(len(e.base)), tree.Options{})
		var refused *tree.UnsupportedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestALogElsewhereAndAnUnknownLogAreTold(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(e *edited, s *super){
		"device of its own": func(e *edited, s *super) { e.write(48, make([]byte, 8)) },
		"features that are not known": func(e *edited, s *super) {
			e.write(220, []byte{0, 0, 1, 0})
		},
	} {
		e, s, _ := editable(t, "v5-dirty")
		change(e, s)
		e.fix(s, 0)
		v, err := Format.Open(e, int64(len(e.base)), tree.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if i := v.Info(); i.Journal != tree.NotReplayed || len(i.Notes) != 1 || !strings.Contains(i.Notes[0], want) {
			t.Errorf("want %q, the volume says %+v", want, i)
		}
	}
}

func TestDamageHarmsWhatItLiesInAndNothingElse(t *testing.T) {
	t.Parallel()
	e, s, _ := editable(t, "v5-ci")
	whole, err := Format.Open(e, int64(len(e.base)), tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := exact.Ours(t, whole)
	ino, err := whole.Lookup(whole.Root(), "file-4096")
	if err != nil {
		t.Fatal(err)
	}
	at, _ := s.inodeAddress(ino)
	e.write(at+300, []byte{99})
	v, err := Format.Open(e, int64(len(e.base)), tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var bad *tree.CorruptError
	if _, err := v.Stat(ino); !errors.As(err, &bad) || bad.At != at {
		t.Errorf("the inode that is damaged: %v", err)
	}
	names := 0
	for e, err := range v.ReadDir(v.Root()) {
		if err != nil {
			t.Fatal(err)
		}
		names++
		if e.Ino != ino {
			if line, _ := exact.Line(t, v, e.Name, e.Ino); line != want[e.Name] {
				t.Errorf("%s is harmed", e.Name)
			}
		}
	}
	if names == 0 {
		t.Error("the folder is empty")
	}
}

func TestAFileOfTheRealtimePartIsListedAndRefused(t *testing.T) {
	t.Parallel()
	e, s, _ := editable(t, "v5-ci")
	before, err := Format.Open(e, int64(len(e.base)), tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ino, err := before.Lookup(before.Root(), "file-4096")
	if err != nil {
		t.Fatal(err)
	}
	at, _ := s.inodeAddress(ino)
	e.write(at+90, []byte{0, flagRealtime})
	e.fix(s, at)
	v, _ := Format.Open(e, int64(len(e.base)), tree.Options{})
	if a, err := v.Stat(ino); err != nil || a.Size != 4096 {
		t.Errorf("%+v, %v", a, err)
	}
	var refused *tree.UnsupportedError
	if _, err := v.Open(ino); !errors.As(err, &refused) {
		t.Errorf("opening it: %v", err)
	}
}

func TestNoNumberIsAnInodeThatIsNotOne(t *testing.T) {
	t.Parallel()
	image, _ := fixture(t, "v5-ci")
	v, err := Format.Open(bytes.NewReader(image), int64(len(image)), tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for ino := range uint64(3000) {
		a, err := v.Stat(ino)
		var bad *tree.CorruptError
		if err != nil && !errors.As(err, &bad) && !errors.Is(err, fs.ErrNotExist) || err == nil && a.Nlink == 0 {
			t.Errorf("inode %d: %+v, %v", ino, a, err)
		}
	}
	for _, ino := range []uint64{1 << 40, ^uint64(0), 1 << 63} {
		if _, err := v.Stat(ino); err == nil {
			t.Errorf("inode %d is there", ino)
		}
	}
}
