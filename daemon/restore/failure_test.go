package restore

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

func TestACancelledRestoreLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{Raw, Qcow2} {
		ctx, cancel := context.WithCancel(t.Context())
		d := randomDisk("vda", 48<<20, 65536, 5)
		var reads atomic.Int32
		d.onRead = func(int64) {
			if reads.Add(1) == 5 {
				cancel()
			}
		}
		folder := t.TempDir()
		res, err := Run(ctx, toFile(d, kind, filepath.Join(folder, "vda")), Options{})
		if !errors.Is(err, context.Canceled) || res.Disks[0].Done {
			t.Errorf("%s: error is %v, result %+v", kind, err, res)
		}
		wantNames(t, folder)
		if n := reads.Load(); n > 20 {
			t.Errorf("%s: %d reads, though the fifth cancelled", kind, n)
		}
	}
}

func TestATargetThatExistsIsNotReplacedUnlessForced(t *testing.T) {
	t.Parallel()
	d := randomDisk("vda", 1<<20, 65536, 1)
	folder := t.TempDir()
	file := filepath.Join(folder, "vda")
	old := []byte("precious")
	if err := os.WriteFile(file, old, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), toFile(d, Raw, file), Options{}); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "--force") {
		t.Errorf("error is %v", err)
	}
	sameFile(t, file, old)
	if _, err := Run(t.Context(), toFile(d, Raw, file), Options{Force: true}); err != nil {
		t.Fatal(err)
	}
	sameFile(t, file, d.bytes())
	wantNames(t, folder, "vda")
}

func TestATargetThatAppearsMeanwhileIsNotReplaced(t *testing.T) {
	t.Parallel()
	d := randomDisk("vda", 4<<20, 65536, 1)
	folder := t.TempDir()
	file := filepath.Join(folder, "vda")
	var once sync.Once
	d.onRead = func(int64) { once.Do(func() { os.WriteFile(file, []byte("newcomer"), 0o600) }) }
	if _, err := Run(t.Context(), toFile(d, Raw, file), Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error is %v", err)
	}
	sameFile(t, file, []byte("newcomer"))
	wantNames(t, folder, "vda")
}

func TestASymbolicLinkIsReplacedAndNeverFollowed(t *testing.T) {
	t.Parallel()
	d := randomDisk("vda", 1<<20, 65536, 1)
	for _, dangling := range []bool{false, true} {
		folder, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "victim")
		if !dangling {
			if err := os.WriteFile(elsewhere, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		link := filepath.Join(folder, "vda")
		if err := os.Symlink(elsewhere, link); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), toFile(d, Raw, link), Options{}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("error is %v", err)
		}
		res, err := Run(t.Context(), toFile(d, Raw, link), Options{Force: true})
		if err != nil {
			t.Fatal(err)
		}
		if n := res.Disks[0].Notes; len(n) != 1 || !strings.Contains(n[0], "the link was replaced") {
			t.Errorf("notes are %q", n)
		}
		if info, err := os.Lstat(link); err != nil || !info.Mode().IsRegular() {
			t.Errorf("the link became %v, %v", info, err)
		}
		sameFile(t, link, d.bytes())
		if dangling {
			wantNames(t, filepath.Dir(elsewhere))
		} else {
			sameFile(t, elsewhere, []byte("precious"))
		}
	}
}

func TestPlacesThatAreNoFilesAreRefusedEvenWithForce(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	fifo, sub, vault := filepath.Join(folder, "fifo"), filepath.Join(folder, "sub"), filepath.Join(folder, "vault")
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.Mkdir(sub, 0o700), os.MkdirAll(filepath.Join(vault, "packs"), 0o700)); err != nil {
		t.Fatal(err)
	}
	before := names(t, folder)
	for target, say := range map[string]string{
		"": "does not name a file", sub: "is a folder", sub + "/": "does not name a file", sub + "/..": "does not name a file",
		fifo: "is not a file", "/dev/null": "is not a file", folder + "/none/vda": "no such file",
		filepath.Join(vault, "packs", "x"):              "inside the vault",
		filepath.Join(folder, strings.Repeat("n", 300)): "name too long",
	} {
		d := randomDisk("vda", 1<<20, 65536, 1)
		_, err := Run(t.Context(), toFile(d, Raw, target), Options{Force: true, VaultPath: vault})
		if err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("target %q: error is %v, want one with %q", target, err, say)
		}
	}
	if after := names(t, folder); !slices.Equal(before, after) {
		t.Errorf("the folder now holds %q", after)
	}
}

func TestTwoDisksNeverShareATarget(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	link := filepath.Join(t.TempDir(), "same")
	if err := os.Symlink(folder, link); err != nil {
		t.Fatal(err)
	}
	a, b := randomDisk("vda", 1<<20, 65536, 1), randomDisk("vdb", 1<<20, 65536, 2)
	jobs := append(toFile(a, Raw, filepath.Join(folder, "x")), toFile(b, Qcow2, filepath.Join(link, "x"))...)
	if _, err := Run(t.Context(), jobs, Options{}); err == nil || !strings.Contains(err.Error(), "vda and vdb both go to") {
		t.Errorf("error is %v", err)
	}
	wantNames(t, folder)
}

func TestWhenOneDiskFailsNoneAppears(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	a, b := randomDisk("vda", 3<<20, 65536, 1), randomDisk("vdb", 3<<20, 65536, 2)
	for n := range b.blocks {
		b.bad[n] = true
	}
	jobs := append(toFile(a, Raw, filepath.Join(folder, "a")), toFile(b, Raw, filepath.Join(folder, "b"))...)
	var damage *blockstore.CorruptError
	if _, err := Run(t.Context(), jobs, Options{}); !errors.As(err, &damage) {
		t.Errorf("error is %v", err)
	}
	wantNames(t, folder)
}

func TestTooLittleSpaceIsSaidBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	folder := smallFilesystem(t)
	for _, kind := range []Kind{Raw, Qcow2} {
		d := randomDisk("vda", 24<<20, 65536, 1)
		d.onRead = func(int64) { t.Error("the disk is read though its data will not fit") }
		_, err := Run(t.Context(), toFile(d, kind, filepath.Join(folder, "vda")), Options{})
		if err == nil || !strings.Contains(err.Error(), "too little space") || !strings.Contains(err.Error(), "are needed") {
			t.Errorf("%s: error is %v", kind, err)
		}
		wantNames(t, folder)
	}
}

func TestADiskThatFillsMidwayLeavesNoHalfFile(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{Raw, Qcow2} {
		folder := smallFilesystem(t)
		d, rng := newDisk("vda", 64<<20, 65536), rand.New(rand.NewPCG(1, 1))
		for n := range int64(20) {
			d.put(n*50, rng)
		}
		var once sync.Once
		d.onRead = func(int64) { // somebody else takes all space that is left
			once.Do(func() { os.WriteFile(filepath.Join(folder, "other"), make([]byte, 4<<20), 0o600) })
		}
		res, err := Run(t.Context(), toFile(d, kind, filepath.Join(folder, "vda")), Options{})
		if !errors.Is(err, unix.ENOSPC) || res.Disks[0].Done || !strings.Contains(err.Error(), "disk vda") {
			t.Errorf("%s: error is %v", kind, err)
		}
		wantNames(t, folder, "other")
	}
}

// smallFilesystem mounts 2 MiB of memory.
func smallFilesystem(t *testing.T) string {
	t.Helper()
	needs.Root(t)
	folder := t.TempDir()
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size=2m"); err != nil {
		needs.Missing(t, "cannot mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil { // a child that another test begins may hold a file open for a moment
			t.Error(err)
		}
	})
	return folder
}

func TestADiskThatContradictsItselfIsRefused(t *testing.T) {
	t.Parallel()
	good := randomDisk("vda", 1<<20, 65536, 1)
	for name, d := range map[string]Disk{
		"a negative size":      &fakeDisk{size: -1, block: 65536},
		"blocks of nothing":    &fakeDisk{size: 1, block: 0},
		"blocks of 3 bytes":    &fakeDisk{size: 1, block: 3},
		"blocks of 2 MiB":      &fakeDisk{size: 1, block: 2 << 20},
		"a gap":                mapped{good, []blockstore.Extent{{Offset: 0, Length: 10}, {Offset: 20, Length: 1<<20 - 20}}},
		"an overlap":           mapped{good, []blockstore.Extent{{Offset: 0, Length: 1 << 19}, {Offset: 9, Length: 1 << 19}}},
		"an end before its":    mapped{good, []blockstore.Extent{{Offset: 0, Length: 1 << 19}}},
		"an end beyond its":    mapped{good, []blockstore.Extent{{Offset: 0, Length: 1<<20 + 1}}},
		"an end beyond all":    mapped{good, []blockstore.Extent{{Offset: 0, Length: 1<<63 - 1}}},
		"an empty extent":      mapped{good, []blockstore.Extent{{Offset: 0, Length: 0}}},
		"parts from elsewhere": mapped{good, []blockstore.Extent{{Offset: 0, Length: 1 << 20, Kind: blockstore.Same}}},
	} {
		folder := t.TempDir()
		if _, err := Run(t.Context(), toFile(d, Qcow2, filepath.Join(folder, "x")), Options{SkipDamaged: true}); err == nil {
			t.Errorf("a disk with %s is restored", name)
		}
		wantNames(t, folder)
	}
}

// mapped is a disk with a map of its own.
type mapped struct {
	*fakeDisk
	extents []blockstore.Extent
}

func (m mapped) Extents(_ context.Context, _, _ int64, fn func(blockstore.Extent) error) error {
	for _, e := range m.extents {
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

func TestRenamingNeverReplacesOnAnyFileSystem(t *testing.T) {
	t.Parallel()
	for _, rename := range []func(from, to string) error{renameNew, renameNewSlow} {
		folder := t.TempDir()
		a, b, c := filepath.Join(folder, "a"), filepath.Join(folder, "b"), filepath.Join(folder, "c")
		if err := errors.Join(os.WriteFile(a, []byte("a"), 0o600), os.WriteFile(b, []byte("b"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := rename(a, b); !errors.Is(err, fs.ErrExist) {
			t.Errorf("error is %v", err)
		}
		sameFile(t, b, []byte("b"))
		if err := rename(a, c); err != nil {
			t.Error(err)
		}
		sameFile(t, c, []byte("a"))
		wantNames(t, folder, "b", "c")
	}
}
