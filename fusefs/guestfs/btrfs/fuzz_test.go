package btrfs

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// blocks are where the blocks of metadata of an image lie.
func blocks(t testing.TB, b []byte) (v *volume, all []int64) {
	t.Helper()
	v, err := openImage(b)
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(1 << 20); at+int64(v.node) <= int64(len(b)); at += int64(v.sector) {
		if p := b[at : at+int64(v.node)]; bytes.Equal(p[32:48], v.metaUUID[:]) && v.sum.blockHolds(p) {
			all = append(all, at)
		}
	}
	return v, all
}

// mutant is an image that was changed as data says, four bytes a change: which block,
// where in it (the front, where keys and headers are, more often), what. The checksums
// are right again.
func mutant(b []byte, v *volume, at []int64, data []byte) []byte {
	b = bytes.Clone(b)
	for ; len(data) >= 4; data = data[4:] {
		place, size := at[int(data[0])%len(at)], v.node
		if data[0] == 255 {
			place, size = superPlaces[0], superSize
		}
		block := b[place : place+int64(size)]
		off := 48 + (int(data[1])*7+int(data[2]&1)*7919)%(size-48)
		block[off] ^= data[3]
		sum := sums[v.super.sum].of(block[sumSize:])
		copy(block, sum[:v.super.sum.size()])
	}
	return b
}

func tryMutant(t testing.TB, b []byte) {
	began := time.Now()
	if v, err := openImage(b); err == nil {
		readAll(v, 2000)
		v.Subvolumes()
	}
	if d := time.Since(began); d > time.Minute {
		t.Errorf("it took %v", d)
	}
}

// FuzzImages changes a real image, makes its checksums right again and reads all that
// is left.
func FuzzImages(f *testing.F) {
	b := made(f, "-n", "4096")
	v, at := blocks(f, b)
	for i := range 8 {
		f.Add([]byte{byte(i * 11), byte(i), 0, 7})
	}
	f.Fuzz(func(t *testing.T, data []byte) { tryMutant(t, mutant(b, v, at, data[:min(len(data), 200)])) })
}

func TestMutantsOfARealImageAreRefusedOrRead(t *testing.T) {
	t.Parallel()
	b := made(t, "-n", "4096")
	v, at := blocks(t, b)
	r := rand.New(rand.NewPCG(1, 2))
	for range mutants / 4 {
		data := make([]byte, 4*(1+r.IntN(12)))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		tryMutant(t, mutant(b, v, at, data))
	}
}

// FuzzPieces decodes what any byte of may be anything.
func FuzzPieces(f *testing.F) {
	for _, name := range []string{"crc", "x"} {
		f.Add([]byte(name), uint8(1))
	}
	f.Add([]byte{32, 0, 0, 0, 8, 0, 0, 0, 21, 97, 98, 99, 100, 17, 0, 0}, uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, kind uint8) {
		for c := packedZlib; c <= packedZstd; c++ {
			if out, err := c.unpack(b, int(kind)*512, 4096); err == nil && len(out) > int(kind)*512 {
				t.Errorf("%v gives %d bytes, more than %d", c, len(out), int(kind)*512)
			}
		}
		for range entriesOf(b, "piece") {
		}
		parseRefs(item{key: key{kind: typeInodeRef + kind&1}, b: b})
		parseChunk(0, b)
		(&chunks{memory: 1 << 20}).addArray(b)
		(&volume{super: super{sector: 4096}}).parseExtent(item{b: b})
		parseSuper(b, 64<<10)
	})
}

func TestAFrameThatGrowsWithoutEndIsCut(t *testing.T) {
	t.Parallel()
	w, err := zstd.NewWriter(nil, zstd.WithWindowSize(128<<10))
	if err != nil {
		t.Fatal(err)
	}
	bomb := w.EncodeAll(make([]byte, 64<<20), nil)
	if out, err := packedZstd.unpack(append(bomb, make([]byte, 100)...), 128<<10, 4096); err == nil {
		t.Errorf("64 MiB of zeros give %d bytes", len(out))
	}
}
