package extract

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// viewOf opens a guest whose one disk is f.
func viewOf(t *testing.T, f *treetest.FS) *guestfs.View {
	t.Helper()
	set := &treetest.Set{}
	image := set.Image(f, 1<<20)
	g := guestfs.Open([]guestfs.Disk{{Name: "vda", R: bytes.NewReader(image), Size: 1 << 20}}, guestfs.Options{Formats: []tree.Format{set.Format()}})
	v, err := g.Volume("vda")
	if err != nil {
		t.Fatal(err)
	}
	return v.View()
}

// places finds paths in a guest whose one disk is f.
func places(t *testing.T, f *treetest.FS, paths ...string) []guestfs.Place {
	t.Helper()
	view := viewOf(t, f)
	var list []guestfs.Place
	for _, p := range paths {
		at, err := view.ResolveLink(p)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, at)
	}
	return list
}

func sample() *treetest.FS {
	f := treetest.New("ext4")
	f.File("home/ann/notes", "text").Mode = 0o100600
	x := f.File("home/ann/bin/tool", "#!/bin/sh\n")
	x.Mode, x.UID, x.GID, x.Nlink = 0o104755, 1000, 1001, 2
	x.Xattrs = map[string][]byte{"user.a": []byte("b\x00c")}
	f.Link("home/ann/tool2", x)
	f.Symlink("home/ann/here", "bin/tool")
	f.Symlink("home/ann/bin/up", "../notes")
	f.Symlink("home/ann/out", "../../etc/passwd")
	f.Symlink("home/ann/abs", "/etc/passwd")
	f.Add("home/ann/pipe", 0o010644, "")
	s := f.File("home/ann/sparse", strings.Repeat("a", 4096)+strings.Repeat("\x00", 4<<20)+"b")
	s.Holes = []tree.Extent{{Off: 4096, Len: 4 << 20}}
	f.At("home/ann/empty").Mode = 0o40555
	return f
}

func problems(r Result) string {
	var paths []string
	for _, p := range r.Problems {
		paths = append(paths, p.Path)
	}
	slices.Sort(paths)
	return strings.Join(paths, " ")
}

func TestAPlainCopyIsOfFilesFoldersAndTheLinksWithin(t *testing.T) {
	t.Parallel()
	to := t.TempDir()
	r, err := Copy(t.Context(), places(t, sample(), "/home/ann"), to, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := problems(r); got != "/home/ann/abs /home/ann/out" || len(r.Notes) != 1 || r.Files != 4 || r.Links != 2 || r.Folders != 3 {
		t.Errorf("problems %q, %+v", got, r)
	}
	if b, err := os.ReadFile(to + "/ann/here"); err != nil || string(b) != "#!/bin/sh\n" {
		t.Errorf("through a link: %q, %v", b, err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(to+"/ann/bin/tool", &st); err != nil || st.Mode&0o7000 != 0 || int(st.Uid) != os.Geteuid() || st.Nlink != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	if info, err := os.Stat(to + "/ann/notes"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("what was the owner's alone is not: %v, %v", info, err)
	}
	if err := syscall.Stat(to+"/ann/sparse", &st); err != nil || st.Size != 4<<20+4097 || st.Blocks > 64 {
		t.Errorf("the copy of a sparse file: %+v, %v", st, err)
	}
	names, _ := filepath.Glob(to + "/ann/.holdfast*")
	if len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

func TestAPlainCopySaysOnceThatAlternateStreamsWereLeftOut(t *testing.T) {
	t.Parallel()
	f := sample()
	f.At("home/ann/notes").Streams = []tree.Stream{{Name: "Zone.Identifier", Size: 20}, {Name: "x"}}
	f.At("home/ann/bin").Streams = []tree.Stream{{Name: "of a folder"}}
	for _, asIs := range []bool{false, true} {
		r, err := Copy(t.Context(), places(t, f, "/home/ann"), t.TempDir(), Options{AsIs: asIs})
		if err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(r.Notes, "\n")
		if said := strings.Count(notes, "3 alternate streams were left out: --as-is keeps them"); (said == 1) == asIs {
			t.Errorf("as is: %v, notes: %s", asIs, notes)
		}
	}
}

func TestACopyAsItIsKeepsAllOfIt(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("keeping owners takes root")
	}
	f := sample()
	d := f.Add("home/ann/null", 0o020666, "")
	d.Major, d.Minor = 1, 3
	to := t.TempDir()
	r, err := Copy(t.Context(), places(t, f, "/home/ann"), to, Options{AsIs: true})
	if err != nil || r.Failed != 0 || len(r.Notes) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	var a, b syscall.Stat_t
	if err := errors.Join(syscall.Stat(to+"/ann/bin/tool", &a), syscall.Stat(to+"/ann/tool2", &b)); err != nil {
		t.Fatal(err)
	}
	if a.Ino != b.Ino || a.Mode != 0o104755 || a.Uid != 1000 || a.Gid != 1001 || a.Mtim.Nsec != 567890123 {
		t.Errorf("%+v", a)
	}
	buf := make([]byte, 10)
	if n, err := unix.Getxattr(to+"/ann/tool2", "user.a", buf); err != nil || string(buf[:n]) != "b\x00c" {
		t.Errorf("attribute %q, %v", buf[:max(n, 0)], err)
	}
	for name, want := range map[string]uint32{"null": 0o020666, "pipe": 0o010644, "empty": 0o040555} {
		if err := syscall.Lstat(to+"/ann/"+name, &a); err != nil || a.Mode != want || a.Mtim.Nsec != 567890123 {
			t.Errorf("%s: %o, %v", name, a.Mode, err)
		}
	}
	if to, err := os.Readlink(to + "/ann/abs"); err != nil || to != "/etc/passwd" {
		t.Errorf("%q, %v", to, err)
	}
}

// TestACopyNeverLeavesItsTarget has a guest claim every kind of name that could.
func TestACopyNeverLeavesItsTarget(t *testing.T) {
	t.Parallel()
	for _, asIs := range []bool{false, true} {
		f := treetest.New("ext4")
		top := f.At("x")
		evil := f.File("evil", "evil")
		evil.Nlink = 5
		for _, name := range []string{"..", "../escape", "/etc/escape", "a/../../escape", ".", ""} {
			top.Entries = append(top.Entries, tree.Entry{Name: name, Ino: evil.Ino, Type: 0o100000})
		}
		outside := t.TempDir()
		target := filepath.Join(outside, "target")
		link := f.Symlink("away", outside)
		back := f.Symlink("back", "..")
		folder := f.At("folder")
		f.File("folder/escape", "evil")
		// The same name twice: first a link that leads out, then a folder or file.
		for _, l := range []*treetest.Node{link, back} {
			name := map[*treetest.Node]string{link: "twice", back: "again"}[l]
			for _, n := range []*treetest.Node{l, folder, evil} {
				top.Entries = append(top.Entries, tree.Entry{Name: name, Ino: n.Ino, Type: n.Mode & 0o170000})
			}
		}
		f.Link("x/loop", f.At("x"))
		r, err := Copy(t.Context(), places(t, f, "/x", "/evil"), target+"/", Options{AsIs: asIs, Replace: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.Failed < 6 {
			t.Errorf("as is %v: only %d problems: %+v", asIs, r.Failed, r.Problems)
		}
		left, err := os.ReadDir(outside)
		if err != nil || len(left) != 1 {
			t.Errorf("as is %v: outside the target there is %v, %v", asIs, left, err)
		}
		if _, err := os.Stat("/etc/escape"); err == nil {
			t.Error("/etc/escape was made")
		}
	}
}

func TestWhatIsThereIsKeptUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	to := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	for name, text := range map[string]string{secret: "mine", to + "/notes": "mine"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(to+"/bin", 0o700), os.Symlink(secret, to+"/bin/tool"), os.Symlink(filepath.Dir(secret), to+"/empty")); err != nil {
		t.Fatal(err)
	}
	from := places(t, sample(), "/home/ann/notes", "/home/ann/bin", "/home/ann/empty")
	r, err := Copy(t.Context(), from, to, Options{})
	if b, _ := os.ReadFile(to + "/notes"); err != nil || string(b) != "mine" || problems(r) != "/home/ann/bin/tool /home/ann/empty /home/ann/notes" {
		t.Errorf("%q, %+v, %v", b, r, err)
	}
	r, err = Copy(t.Context(), from, to, Options{Replace: true})
	if b, _ := os.ReadFile(to + "/notes"); err != nil || string(b) != "text" || problems(r) != "/home/ann/empty" {
		t.Errorf("%q, %+v, %v", b, r, err)
	}
	if b, _ := os.ReadFile(secret); string(b) != "mine" {
		t.Errorf("a link in the target was followed: %q", b)
	}
}

func TestNamesThatTheTargetCannotHoldAreToldAndTheRestIsCopied(t *testing.T) {
	t.Parallel()
	f := treetest.New("ntfs")
	f.File("d/"+strings.Repeat("ü", 200), "long")
	f.File("d/short", "short")
	bad := f.File("d/bad", "bad")
	bad.Err = &tree.CorruptError{What: "inode 3", Why: "of the test", At: -1}
	to := t.TempDir()
	r, err := Copy(t.Context(), places(t, f, "/d"), to+"/new", Options{})
	if err != nil || r.Failed != 2 || !r.Damaged || !strings.Contains(r.Problems[0].Err.Error()+r.Problems[1].Err.Error(), "longer than") {
		t.Errorf("%+v, %v", r, err)
	}
	if b, err := os.ReadFile(to + "/new/short"); err != nil || string(b) != "short" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestATargetThatIsFullEndsTheCopyAndLeavesNoHalfFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting takes root")
	}
	to := t.TempDir()
	if err := unix.Mount("none", to, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip(err)
	}
	defer unix.Unmount(to, unix.MNT_DETACH)
	f := treetest.New("ext4")
	f.File("big", strings.Repeat("x", 1<<20))
	_, err := Copy(t.Context(), places(t, f, "/big"), to, Options{})
	left, _ := os.ReadDir(to)
	if !errors.Is(err, syscall.ENOSPC) || len(left) != 0 {
		t.Errorf("%v; left: %v", err, left)
	}
}

func TestATarHoldsAllOfItAndTarReadsIt(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	r, err := Tar(t.Context(), &b, places(t, sample(), "/home/ann"), Options{})
	if err != nil || r.Failed != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	cmd := exec.Command("tar", "--numeric-owner", "--xattrs", "-tvf", "-")
	cmd.Stdin = bytes.NewReader(b.Bytes())
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err, string(out))
	}
	for _, want := range []string{"ann/tool2 link to ann/bin/tool", "-rwsr-xr-x* 1000/1001", "ann/abs -> /etc/passwd", "prw-r--r--", "ann/empty/"} {
		if !strings.Contains(strings.ReplaceAll(string(out), "-rwsr-xr-x ", "-rwsr-xr-x* "), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

func TestAZipHoldsFilesFoldersAndLinks(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	r, err := Zip(t.Context(), &b, places(t, sample(), "/"), Options{})
	if err != nil || r.Failed != 0 || len(r.Notes) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name+" "+f.Mode().String())
	}
	for _, want := range []string{"home/ann/notes -rw-------", "home/ann/abs Lrwxrwxrwx", "home/ann/empty/ dr-xr-xr-x"} {
		if !slices.Contains(names, want) {
			t.Errorf("%q is not in %q", want, names)
		}
	}
}

func TestAnArchiveEndsWithATextOfItsMakersAndHoldsNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	f := sample()
	f.File("home/zz", "behind all")
	for _, format := range []string{"tar", "zip"} {
		var b bytes.Buffer
		o := Options{Entries: 3, Last: func(r Result) (string, []byte) { return "LAST.txt", []byte(fmt.Sprint(r.Failed)) }}
		write := map[string]func(context.Context, io.Writer, []guestfs.Place, Options) (Result, error){"tar": Tar, "zip": Zip}[format]
		r, err := write(t.Context(), &b, places(t, f, "/home"), o)
		if err != nil || r.Files+r.Folders+r.Links != 3 || r.Failed < 5 || !strings.Contains(r.Problems[0].Err.Error(), "3 entries already") {
			t.Fatalf("%s: %+v, %v", format, r, err)
		}
		last := ""
		if format == "tar" {
			a := tar.NewReader(&b)
			for h, err := a.Next(); err == nil; h, err = a.Next() {
				text, _ := io.ReadAll(a)
				last = h.Name + " " + string(text)
			}
		} else {
			a, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
			if err != nil {
				t.Fatal(err)
			}
			h := a.File[len(a.File)-1]
			text, _ := fs.ReadFile(a, h.Name)
			last = h.Name + " " + string(text)
		}
		if last != fmt.Sprintf("LAST.txt %d", r.Failed) {
			t.Errorf("%s ends with %q", format, last)
		}
	}
}
