package fusefs

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// memorySource is a disk to back up that lies in memory.
type memorySource struct{ *bytes.Reader }

func (s memorySource) Size() int64 { return s.Reader.Size() }

func (s memorySource) Extents(_ context.Context, fn func(blockstore.Extent) error) error {
	return fn(blockstore.Extent{Length: s.Size()})
}

// realVault makes a vault on disk with one point of a machine web, whose disk vda
// holds data, and opens it.
func realVault(t testing.TB, data []byte) Vault {
	t.Helper()
	ctx := context.Background()
	path := filepath.Join(scratch(t), "vault")
	if _, err := blockstore.Create(ctx, path, blockstore.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	backUp(t, path, data)
	v, err := blockstore.Open(ctx, path, blockstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return FromVault(v)
}

// backUp adds a point of web to the vault at path.
func backUp(t testing.TB, path string, data []byte) {
	t.Helper()
	ctx := context.Background()
	o, err := blockstore.Own(ctx, path, blockstore.OwnOptions{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	b, err := o.Begin(ctx, blockstore.BackupOptions{Machine: "web", Time: time.Now().Add(-time.Minute), Reached: blockstore.Crash})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	if err := b.AddDisk(ctx, blockstore.DiskInfo{Name: "vda", Size: int64(len(data)), Format: "raw"}, memorySource{bytes.NewReader(data)}, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.AddConfig("domain.xml", []byte("<domain/>\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Commit(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestARealVaultReadsBackThroughAMountAndShowsNewPoints(t *testing.T) {
	data := holey(20<<20+512, 9).data
	v := realVault(t, data)
	m, _ := mount(t, v, quick())
	disk := filepath.Join(m, "web/latest/disks/vda.raw")
	got, err := os.ReadFile(disk)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("the disk differs (%d bytes of %d, %v)", len(got), len(data), err)
	}
	if got := sh(t, m, `cp --sparse=auto $M/web/latest/disks/vda.raw x; cmp x $M/web/latest/disks/vda.raw; cat $M/web/latest/config/domain.xml`); got != "<domain/>\n" {
		t.Errorf("configuration %q", got)
	}
	first, err := os.Readlink(filepath.Join(m, "web/latest"))
	if err != nil {
		t.Fatal(err)
	}
	data[0]++
	backUp(t, v.Info().Path, data)
	eventually(t, "the second point is the latest", func() bool {
		now, err := os.Readlink(filepath.Join(m, "web/latest"))
		return err == nil && now != first
	})
	if got, err := os.ReadFile(disk); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the second point's disk differs (%v)", err)
	}
}
