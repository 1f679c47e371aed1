package guestfs

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
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
