package blockstore

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestPartsOfBlocksAreTheSameHoweverOftenTheyAreAsked(t *testing.T) {
	const size = 5<<16 + 1234
	disk := make([]byte, size)
	r := rand.New(rand.NewPCG(1, 2))
	fill(r, disk, size)
	o := ownVault(t, newVault(t, DefaultBlockSize), OwnOptions{})
	p := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	d, err := o.OpenDisk(p, "vda")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for off := int64(0); off+9000 < size; off += 3777 {
			for _, n := range []int{1, 4096, 8192, 9000} {
				got := make([]byte, n)
				if _, err := d.ReadAt(got, off); err != nil || !bytes.Equal(got, disk[off:off+int64(n)]) {
					t.Fatalf("%d bytes at %d differ, error %v", n, off, err)
				}
			}
		}
	}
}

func TestABlockIsKeptOnceASecondSmallPartOfItIsAsked(t *testing.T) {
	disk := bytes.Repeat([]byte("holdfast"), 1<<14)
	o := ownVault(t, newVault(t, DefaultBlockSize), OwnOptions{})
	d, err := o.OpenDisk(backUp(t, o, "web1", map[string]Source{"vda": memory(disk)}), "vda")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		off, kept int
	}{{4096, 0}, {12288, 1}, {4096, 1}} {
		if _, err := d.ReadAt(make([]byte, 4096), int64(step.off)); err != nil {
			t.Fatal(err)
		}
		if got := o.blocks.Len(); got != step.kept {
			t.Errorf("after a read at %d %d blocks are kept, want %d", step.off, got, step.kept)
		}
	}
}
