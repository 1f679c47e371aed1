package restore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

func pointOf(seed uint64) FolderJob {
	a, b := randomDisk("vda", 3<<20+5, 65536, seed), randomDisk("vdb", 2<<20, 65536, seed+1)
	b.info.Format = "qcow2"
	return FolderJob{Disks: []Disk{a, b}, Config: map[string][]byte{"domain.xml": []byte("<domain/>"), "nvram": make([]byte, 9000), "empty": nil}}
}

func checkRestoredFolder(t *testing.T, f FolderJob, path string) {
	t.Helper()
	sameFile(t, filepath.Join(path, "vda.raw"), f.Disks[0].(*fakeDisk).bytes())
	checkQcow2(t, filepath.Join(path, "vdb.qcow2"))
	for name, want := range f.Config {
		sameFile(t, filepath.Join(path, "config", name), want)
	}
	wantNames(t, filepath.Join(path, "config"), "domain.xml", "empty", "nvram")
}

func TestAWholePointGoesToAFolder(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img")
	for name, setup := range map[string]func(path string) error{
		"new":            func(string) error { return nil },
		"empty":          func(path string) error { return os.Mkdir(path, 0o755) },
		"with a slash/":  func(string) error { return nil },
		"in a pattern *": func(string) error { return nil },
	} {
		parent, f := t.TempDir(), pointOf(1)
		f.Path = parent + "/" + name
		if err := setup(f.Path); err != nil {
			t.Fatal(err)
		}
		res, err := Folder(t.Context(), f, Options{Verify: true})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Clean(f.Path)
		checkRestoredFolder(t, f, path)
		wantNames(t, path, "config", "vda.raw", "vdb.qcow2")
		wantNames(t, parent, filepath.Base(path))
		if len(res.Disks) != 2 || len(res.Config) != 3 || res.Disks[1].Target != filepath.Join(path, "vdb.qcow2") ||
			res.Config[0] != filepath.Join(path, "config/domain.xml") || !res.Disks[0].Done {
			t.Errorf("result is %+v", res)
		}
		if info, err := os.Stat(path); err != nil || (name != "empty" && info.Mode().Perm() != 0o700) {
			t.Errorf("the folder is %v, %v", info.Mode(), err)
		}
	}
}

func TestAFolderWithSomethingInItIsRefusedUnlessForced(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img")
	f := pointOf(3)
	f.Path = filepath.Join(t.TempDir(), "full")
	mine, old := filepath.Join(f.Path, "notes"), filepath.Join(f.Path, "vda.raw")
	if err := errors.Join(os.Mkdir(f.Path, 0o700), os.WriteFile(mine, []byte("mine"), 0o600), os.WriteFile(old, []byte("old"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Folder(t.Context(), f, Options{}); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "--force") {
		t.Errorf("error is %v", err)
	}
	sameFile(t, old, []byte("old"))
	wantNames(t, f.Path, "notes", "vda.raw")
	if _, err := Folder(t.Context(), f, Options{Force: true}); err != nil {
		t.Fatal(err)
	}
	checkRestoredFolder(t, f, f.Path)
	sameFile(t, mine, []byte("mine"))
}

func TestAFailedFolderLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, exists := range []bool{false, true} {
		parent, f := t.TempDir(), pointOf(5)
		f.Path = filepath.Join(parent, "x")
		if exists {
			if err := os.Mkdir(f.Path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		bad := f.Disks[1].(*fakeDisk)
		for n := range bad.blocks {
			bad.bad[n] = true
		}
		var damage *blockstore.CorruptError
		res, err := Folder(t.Context(), f, Options{})
		if !errors.As(err, &damage) || strings.Contains(err.Error(), ".x.holdfast") {
			t.Errorf("error is %v", err)
		}
		for _, d := range res.Disks {
			if d.Done {
				t.Errorf("%s is said to be done", d.Target)
			}
		}
		if exists {
			wantNames(t, f.Path)
		} else {
			wantNames(t, parent)
		}
	}
}

func TestAFolderNeverLeadsElsewhere(t *testing.T) {
	t.Parallel()
	elsewhere, parent := t.TempDir(), t.TempDir()
	link := filepath.Join(parent, "link")
	real := filepath.Join(parent, "real")
	if err := errors.Join(os.Symlink(elsewhere, link), os.Mkdir(real, 0o700), os.Symlink(elsewhere, filepath.Join(real, "config"))); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, link + "/", real, "", filepath.Join(parent, "none", "x")} {
		f := pointOf(7)
		f.Path = path
		if _, err := Folder(t.Context(), f, Options{Force: true}); err == nil {
			t.Errorf("restored to %q", path)
		}
	}
	for _, name := range []string{"../x", "a/b", "", "..", "a b", "x\n", strings.Repeat("x", 10_000)} {
		f := pointOf(7)
		f.Path = filepath.Join(parent, "new")
		f.Config[name] = []byte("hostile")
		if _, err := Folder(t.Context(), f, Options{}); err == nil {
			t.Errorf("configuration %.20q is restored", name)
		}
		f = pointOf(7)
		f.Path = filepath.Join(parent, "new")
		f.Disks[0].(*fakeDisk).info.Name = name
		if _, err := Folder(t.Context(), f, Options{}); err == nil {
			t.Errorf("disk %.20q is restored", name)
		}
	}
	wantNames(t, elsewhere)
	wantNames(t, parent, "link", "real")
	wantNames(t, real, "config")
}
