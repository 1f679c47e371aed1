package lvm

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// TestWhatLiesBelowAVolumeIsWhatItReads reads volumes of all kinds piece by piece from where
// they say that they lie.
func TestWhatLiesBelowAVolumeIsWhatItReads(t *testing.T) {
	images, sums := fixture(t)
	r := rand.New(rand.NewPCG(2, 2))
	g := open(t, images...)
	for name := range sums {
		v := volume(t, g, name)
		if v.Err != nil {
			continue
		}
		for range 50 {
			off := r.Int64N(v.Size)
			below, at, n, ok := v.Below(off)
			if !ok || n <= 0 || n > v.Size-off {
				t.Fatalf("%s: %d bytes at %d, %v", name, n, off, ok)
			}
			n = min(n, 70_000)
			want, got := make([]byte, n), make([]byte, n)
			if _, err := v.ReadAt(want, off); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if _, err := below.ReadAt(got, at); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if !bytes.Equal(want, got) {
				t.Errorf("%s: %d bytes at %d lie not at %d of what is below", name, n, off, at)
			}
		}
		if _, _, _, ok := v.Below(v.Size); ok {
			t.Errorf("%s: what is beyond its end lies somewhere", name)
		}
	}
}
