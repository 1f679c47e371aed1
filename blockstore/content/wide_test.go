package content

import (
	"math/rand/v2"
	"testing"

	"github.com/zeebo/blake3"
)

func TestAnIDIsTheSameWhicheverWayItIsComputed(t *testing.T) {
	var key [32]byte
	random := rand.NewChaCha8([32]byte{7})
	random.Read(key[:])
	wide := newWideKey(&key)
	for n := wideStep; sizeIsWide(n); n *= 2 {
		p := make([]byte, n)
		for range 3 {
			h, err := blake3.NewKeyed(key[:])
			if err != nil {
				t.Fatal(err)
			}
			h.Write(p)
			if got, want := wide.sum(p), ID(h.Sum(nil)); got != want {
				t.Errorf("%d bytes: %v and %v", n, got, want)
			}
			random.Read(p)
		}
	}
}

func TestOnlyWholeTreesAreHashedWide(t *testing.T) {
	for n, want := range map[int]bool{0: false, 2048: false, 8192: false, 16384: true, 16385: false,
		49152: false, 65536: true, 1 << 20: true, 2 << 20: false} {
		if got := sizeIsWide(n); got != want {
			t.Errorf("%d bytes: %v", n, got)
		}
	}
}

func BenchmarkIDOfABlock(b *testing.B) {
	keys, p := Derive(goldenSecret()), make([]byte, 65536)
	was := wide
	defer func() { wide = was }()
	for name, w := range map[string]bool{"narrow": false, "wide": true} {
		b.Run(name, func(b *testing.B) {
			wide = w
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				keys.ID(Block, p)
			}
		})
	}
}
