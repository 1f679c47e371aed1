package blockstore

import "testing"

func TestReadsAreCountedUntilWhatTheyReadIsInMemory(t *testing.T) {
	dir := newVault(t, 16384)
	data := make([]byte, 40*16384)
	for i := range data {
		data[i] = byte(i / 16384)
	}
	p := backUp(t, ownVault(t, dir, OwnOptions{}), "web", map[string]Source{"vda": memory(data)})
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	plain, err := v.OpenDisk(p, "vda")
	if err != nil {
		t.Fatal(err)
	}
	var n Reads
	d := plain.Counted(&n)
	b := make([]byte, 10)
	for range 3 {
		if _, err := d.ReadAt(b, 7*16384); err != nil {
			t.Fatal(err)
		}
	}
	if n.Blocks.Load() != 1 || n.Pages.Load() != 1 {
		t.Errorf("one block read three times: %d blocks and %d pages are counted", n.Blocks.Load(), n.Pages.Load())
	}
	if _, err := d.ReadAt(b, 0); err != nil || n.Blocks.Load() != 1 {
		t.Errorf("a block of zeros counts: %d, %v", n.Blocks.Load(), err)
	}
	if _, err := d.ReadAt(make([]byte, 5*16384), 20*16384); err != nil || n.Blocks.Load() != 6 {
		t.Errorf("five more blocks: %d are counted in all, %v", n.Blocks.Load(), err)
	}
	seen := 0
	err = d.IDs(t.Context(), 16384+1, 3*16384, func(block int64, id ID) error {
		if seen++; block != int64(seen) || id.IsZero() {
			t.Errorf("block %d has the ID %s", block, id.Short())
		}
		return nil
	})
	if err != nil || seen != 4 {
		t.Errorf("%d IDs of a range that touches 4 blocks, %v", seen, err)
	}
	if err := d.IDs(t.Context(), 39*16384, 16385, nil); err == nil {
		t.Error("a range beyond the disk has IDs")
	}
}
