package qemu

import (
	"context"
	"errors"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce/nbd"
)

// said answers as a server does that knows one thing of each unit of 512 bytes, a few at a time.
type said struct {
	flags  []byte
	answer int // units in one answer
	wrong  int // answers until one that does not begin where it should; -1: never
}

func (s *said) BlockStatus(_ context.Context, off, length int64) (map[string][]nbd.Extent, error) {
	if off < 0 || length <= 0 || off+length > int64(len(s.flags))*512 {
		return nil, errors.New("asked beyond the end")
	}
	var list []nbd.Extent
	for n := 0; n < s.answer && length > 0; n++ {
		list = append(list, nbd.Extent{Offset: off, Length: min(512, length), Flags: uint32(s.flags[off/512])})
		off, length = off+512, length-512
	}
	if s.wrong == 0 {
		list[0].Offset += 512
	}
	s.wrong--
	return map[string][]nbd.Extent{"x": list}, nil
}

func (s *said) teller() *teller { return &teller{from: s, context: "x", known: true} }

// FuzzExtents holds what is made of two contexts against a look at each unit.
func FuzzExtents(f *testing.F) {
	f.Add([]byte{0, 1, 1, 0, 1}, []byte{3, 3, 0, 2, 0}, uint8(2), int8(-1), uint16(100))
	f.Add([]byte{1, 1}, []byte{3, 3}, uint8(1), int8(1), uint16(0))
	f.Fuzz(func(t *testing.T, dirty, zero []byte, answer uint8, wrong int8, cut uint16) {
		units := min(len(dirty), len(zero), 1<<12)
		size := int64(units)*512 - int64(cut%512)
		if size <= 0 {
			return
		}
		changes := &said{dirty[:units], int(answer%7) + 1, int(wrong)}
		zeros := &said{zero[:units], int(answer%5) + 1, -1}
		e := &Export{size: size, zeros: zeros.teller(), changes: changes.teller()}
		next, last := int64(0), blockstore.ExtentKind(255)
		err := e.Extents(t.Context(), func(x blockstore.Extent) error {
			if x.Offset != next || x.Length <= 0 || x.End() > size || x.Kind == last {
				t.Fatalf("%+v after %d of %d", x, next, size)
			}
			next, last = x.End(), x.Kind
			for at := x.Offset; at < x.End(); at += 512 {
				want := blockstore.Data
				switch {
				case dirty[at/512]&1 == 0:
					want = blockstore.Same
				case zero[at/512]&nbd.ZeroBytes != 0:
					want = blockstore.Zero
				}
				if x.Kind != want {
					t.Fatalf("%d is %v, want %v", at, x.Kind, want)
				}
			}
			return nil
		})
		if err == nil && next != size || err != nil && wrong < 0 {
			t.Fatalf("ended at %d of %d: %v", next, size, err)
		}
	})
}

func TestSmallChangesAreReadWithoutAskingForZeros(t *testing.T) {
	const unit = 512
	zeros := &said{make([]byte, 8), 8, 0} // its first answer is wrong
	changes := &said{[]byte{0, 1, 1, 0, 1, 0, 0, 0}, 8, -1}
	e := &Export{size: 8 * unit, zeros: zeros.teller(), changes: changes.teller(), small: unit}
	var got []blockstore.Extent
	take := func(x blockstore.Extent) error { got = append(got, x); return nil }
	if err := e.Extents(t.Context(), take); err != nil || len(got) != 5 || got[1] != (blockstore.Extent{Offset: unit, Length: 2 * unit, Kind: blockstore.Data}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWhatNobodyTellsOfIsRead(t *testing.T) {
	e := &Export{size: 1 << 20, zeros: &teller{context: "x"}, changes: &teller{context: "y"}}
	var got []blockstore.Extent
	if err := e.Extents(t.Context(), func(x blockstore.Extent) error { got = append(got, x); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0] != (blockstore.Extent{Offset: 0, Length: 1 << 20, Kind: blockstore.Data}) {
		t.Errorf("%+v", got)
	}
}

// FuzzNames lets QEMU call its files and channels anything.
func FuzzNames(f *testing.F) {
	f.Add(`json:{"driver":"qcow2","file":{"driver":"file","filename":"/var/tmp/vl.ABCDEF"}}`)
	f.Add("disconnected:unix:/run/a,server=on")
	f.Fuzz(func(t *testing.T, name string) {
		chain := []Layer{{Filename: plainName(name)}, {}}
		transient(chain)
		socketOf(name)
		vaultOf(name)
	})
}

func TestNamesAreTakenApart(t *testing.T) {
	for name, want := range map[string]string{
		"/a/b": "/a/b",
		`json:{"driver":"qcow2","file":{"driver":"file","filename":"/var/tmp/vl.ABCDEF"}}`: "/var/tmp/vl.ABCDEF",
		`json:{"driver":"raw","file":"node"}`:                                              `json:{"driver":"raw","file":"node"}`,
		"json:rubbish":                                                                     "json:rubbish",
	} {
		if got := plainName(name); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
	for name, want := range map[string]string{
		"unix:/a,server=on": "/a", "disconnected:unix:/a b,c,server": "/a b,c", "pty": "", "unix:/x": "/x",
	} {
		if got := socketOf(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	for name, want := range map[string]string{
		"hf-0123-p45": "0123", "hf-0123-x": "", "hf--p4": "", "other": "", "hf-0123": "",
	} {
		if got, ok := vaultOf(name); ok != (want != "") || ok && got != want {
			t.Errorf("%s is of %q, %t", name, got, ok)
		}
	}
	for i, want := range map[int]string{0: "a", 25: "z", 26: "aa", 701: "zz", 702: "aaa"} {
		if got := letters(i); got != want {
			t.Errorf("%d is %s", i, got)
		}
	}
}
