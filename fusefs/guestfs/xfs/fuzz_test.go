package xfs

import (
	"math/rand/v2"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// FuzzImages changes real images, makes their checksums right again and reads all
// that is left.
func FuzzImages(f *testing.F) {
	type base struct {
		image []byte
		super *super
		where []int64
	}
	var bases []base
	for _, name := range []string{"v5-ci", "v5-dirty", "v4", "v4-dirty"} {
		image, _ := fixture(f, name)
		s, err := parseSuper(image[:sectorSize], 0)
		if err != nil {
			f.Fatal(err)
		}
		bases = append(bases, base{image, s, places(image)})
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 120 {
		b := make([]byte, 8*(1+r.IntN(60)))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		b := bases[int(which)%len(bases)]
		e := &edited{base: b.image, pages: map[int64][]byte{}}
		e.edit(b.super, b.where, data[:min(len(data), 8*200)])
		readAll(t, e, int64(len(b.image)), tree.Options{Memory: 16 << 20})
	})
}

// FuzzPieces decodes what lies in an inode or a log, of which any byte may be
// anything.
func FuzzPieces(f *testing.F) {
	f.Add([]byte("IN"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, kind uint8) {
		v := &volume{super: super{block: 4096, inode: 512, agBlocks: 1000, agCount: 1, agBlockLog: 10, inoBlockLog: 3, blocks: 1000, dirBlock: 4096, v5: kind&1 != 0, fileTypes: kind&2 != 0}, cache: newCache(1 << 20)}
		fork := &fork{v: v, what: "piece", local: b}
		d := &directory{fork, v, &inode{}}
		d.short(func(dirEntry) bool { return true })
		fork.eachAttribute(func(attribute) bool { return true })
		fork.acl(b)
		fork.extents(b[:len(b)/16*16], 0)
		fork.mapRoot(b)
		parseSuper(b, 0)
		hashName(string(b))
		for _, format := range []byte{formatLocal, formatExtents, formatTree} {
			fork.fill(b, format, uint64(len(b)/16))
		}
	})
}
