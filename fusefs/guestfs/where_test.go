package guestfs

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/bitlocker/bitlockertest"
)

// flipped is a disk, of which one byte is another.
type flipped struct {
	io.ReaderAt
	at int64
}

func (f *flipped) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.ReaderAt.ReadAt(p, off)
	if f.at >= off && f.at < off+int64(n) {
		p[f.at-off] ^= 0xff
	}
	return n, err
}

// TestAPartOfAVolumeIsMadeOfItsSpansAndOfNothingElse changes bytes of the disks, within
// spans and beside them.
func TestAPartOfAVolumeIsMadeOfItsSpansAndOfNothingElse(t *testing.T) {
	m, uuid := encryptedGuest(t)
	r := rand.New(rand.NewPCG(1, 1))
	f := &flipped{ReaderAt: m.disks[0].R, at: -1}
	disk := m.disks[0]
	disk.R = f
	g := Open([]Disk{disk}, Options{Formats: m.open().o.Formats, Keys: NewKeys([]byte(passphrase))})
	for _, name := range []string{"vda1", "luks-" + uuid} {
		v, err := g.Volume(name)
		if err != nil {
			t.Fatal(err)
		}
		for range 60 {
			n := 1 + r.Int64N(min(20_000, v.Size-1))
			off := r.Int64N(v.Size - n)
			spans, ok := v.Where(off, n)
			if !ok || len(spans) != 1 || spans[0].Disk != 0 {
				t.Fatalf("%s lies at %+v, %v", name, spans, ok)
			}
			s := spans[0]
			again, _ := v.Where(off+512, n)
			if name != "vda1" && (s.How == "" || len(again) == 1 && again[0].How == s.How && again[0].Off != s.Off) {
				t.Errorf("%s: %+v and %+v are decrypted alike", name, s, again)
			}
			plain, now := make([]byte, n), make([]byte, n)
			read := func(at int64, b []byte) {
				f.at = at
				if _, err := v.r.ReadAt(b, off); err != nil && err != io.EOF {
					t.Fatal(err)
				}
			}
			read(-1, plain)
			for _, outside := range []int64{s.Off - 1, s.Off + s.Len} {
				if read(outside, now); !bytes.Equal(plain, now) {
					t.Errorf("%s: %d bytes at %d depend on the byte at %d, outside of %+v", name, n, off, outside, s)
				}
			}
			if read(s.Off+s.Len/2, now); bytes.Equal(plain, now) && (s.How == "" || n > 2048) { // a cipher may work in small steps
				t.Errorf("%s: %d bytes at %d do not depend on the middle of %+v", name, n, off, s)
			}
			f.at = -1
		}
		if _, ok := v.Where(v.Size-5, 6); ok {
			t.Error("what lies beyond the end has a place")
		}
	}
}

// TestAVolumeThatBitLockerEncryptedIsMadeOfItsSpans over what it moved and what it keeps for itself.
func TestAVolumeThatBitLockerEncryptedIsMadeOfItsSpans(t *testing.T) {
	t.Parallel()
	m := windowsGuest(t, bitlockertest.Options{Recovery: true})
	f := &flipped{ReaderAt: m.disks[0].R, at: -1}
	disk := m.disks[0]
	disk.R = f
	g := Open([]Disk{disk}, Options{Formats: m.open().o.Formats, Keys: NewKeys([]byte(bitlockertest.Recovery))})
	v, err := g.Volume("bitlocker-" + bitlockertest.GUID)
	if err != nil {
		t.Fatal(err)
	}
	whole, ok := v.Where(0, v.Size)
	sealed, empty := int64(0), 0
	for _, s := range whole {
		if sealed += s.Len; s.Len == 0 {
			empty++
		}
		if s.How == "" {
			t.Errorf("%+v is taken as it is", s)
		}
	}
	if !ok || empty < 3 || sealed < v.Size/2 || sealed >= v.Size {
		t.Fatalf("the volume of %d bytes lies at %+v, %v", v.Size, whole, ok)
	}
	read := func(flip, off int64, b []byte) []byte {
		f.at = flip
		defer func() { f.at = -1 }()
		if _, err := v.r.ReadAt(b, off); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		return b
	}
	r := rand.New(rand.NewPCG(1, 2))
	for off := int64(0); off < v.Size; off += 1 + r.Int64N(60_000) {
		n := min(1+r.Int64N(20_000), v.Size-off)
		spans, ok := v.Where(off, n)
		plain := read(-1, off, make([]byte, n))
		inside := func(at int64) bool {
			return slices.ContainsFunc(spans, func(s Span) bool { return at >= s.Off && at < s.Off+s.Len })
		}
		if !ok {
			t.Fatalf("%d bytes at %d have no place", n, off)
		}
		for _, s := range spans {
			for _, at := range []int64{s.Off - 1, s.Off + s.Len} {
				if s.Len > 0 && !inside(at) && !bytes.Equal(read(at, off, make([]byte, n)), plain) {
					t.Errorf("%d bytes at %d depend on the byte at %d, outside of %+v", n, off, at, spans)
				}
			}
			if s.Len > 2048 && bytes.Equal(read(s.Off+s.Len/2, off, make([]byte, n)), plain) {
				t.Errorf("%d bytes at %d do not depend on the middle of %+v", n, off, s)
			}
		}
	}
}
