package history

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// said are differences in a few words.
func said(list []api.FileDiff) (words []string) {
	for _, f := range list {
		w := f.Change + " "
		if f.From != "" {
			w += f.From + " -> "
		}
		words = append(words, strings.TrimSpace(w+f.Path+" "+strings.Join(f.Details, ",")))
	}
	return words
}

// twoDays are points of an ext4 before and after a script of debugfs.
func twoDays(t *testing.T, files map[string]string, script string) *store {
	t.Helper()
	needTool(t, "mkfs.ext4", "debugfs")
	dir := scratch(t)
	for name, content := range files {
		name = filepath.Join(dir, "root", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(name, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeFile(filepath.Join(dir, "more"), []byte("more\n")); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "image")
	sh(t, "", `cd "$1"; truncate -s 16M image; mkfs.ext4 -q -d root image`, dir)
	s := newStore(t)
	s.add("web1", disk{"vda", readImage(t, image)})
	out := sh(t, script, `cd "$1"; debugfs -w -f - image 2>&1`, dir)
	if strings.Contains(out, "not found") || strings.Contains(out, "sage:") {
		t.Fatal(out)
	}
	s.add("web1", disk{"vda", readImage(t, image)})
	return s
}

func TestWhatWasMovedIsToldAsMoved(t *testing.T) {
	t.Parallel()
	s := twoDays(t, map[string]string{
		"etc/a": "a", "etc/b": "b", "etc/stay": "s", "home/ann/x/deep/file": "f", "home/ann/x/other": "o", "home/bob/keep": "k", "old/one": "1", "old/two": "2",
	}, strings.Join([]string{
		"ln /etc/a /home/a2", "unlink /etc/a", // to another folder
		"ln /home/ann/x /x", "unlink /home/ann/x", "rm /x/other", "write more /x/new", "sif /x/new crtime @1000", "sif /x/deep/file mode 0100600", // a folder, in which things changed
		"mkdir /fresh", "mkdir /fresh/in", "ln /old/one /fresh/in/one", "unlink /old/one", "rm /old/two", "rmdir /old", // into a new folder, out of one that is gone
		"ln /home/bob /fresh/bob", "unlink /home/bob", // a folder into a new one
		"ln /etc/b /etc/b2", // a second name is none
	}, "\n"))
	list, total := diffOf(t, s.open(), Side{s.points[0], "vda", "/"}, Side{s.points[1], "vda", "/"}, DiffOptions{})
	want := []string{"added /etc/b2", "added /fresh", "moved /home/bob -> /fresh/bob", "added /fresh/in", "moved /old/one -> /fresh/in/one",
		"moved /etc/a -> /home/a2", "removed /old", "removed /old/two", "moved /home/ann/x -> /x", "metadata /x/deep/file mode", "added /x/new", "removed /home/ann/x/other"}
	if got := said(list); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("said is\n%s\nand should be\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if total.Moved != 4 || total.Removed != 3 {
		t.Errorf("%+v", total)
	}
}

func TestTextsAreComparedLineByLineAndOthersAreNot(t *testing.T) {
	t.Parallel()
	s := twoDays(t, map[string]string{"etc/text": "one\nmore\n", "etc/bin": "a\x00b"}, "rm /etc/text\nwrite more /etc/text\nrm /etc/bin\nwrite more /etc/bin\n")
	list, _ := diffOf(t, s.open(), Side{s.points[0], "vda", "/etc"}, Side{s.points[1], "vda", "/etc"}, DiffOptions{Content: true})
	if len(list) != 2 || !list[0].Binary || list[0].Text != "" || list[1].Binary || !strings.HasSuffix(list[1].Text, "@@ -1,2 +1 @@\n-one\n more\n") {
		t.Errorf("%+v", list)
	}
}

// TestSoManyDifferencesAreToldWithoutMoves lowers no bound: it makes as many as it takes.
func TestSoManyDifferencesAreToldWithoutMoves(t *testing.T) {
	t.Parallel()
	s := twoDays(t, map[string]string{"etc/a": "a", "etc/b": "b"}, "ln /etc/a /etc/c\nunlink /etc/a\n")
	r := newRun(s.open(), nil)
	d := &differ{run: r, o: DiffOptions{Progress: func(int64) {}}, a: half{look: r.open(s.open(), s.points[0]), Side: Side{s.points[0], "vda", "/"}},
		b: half{look: r.open(s.open(), s.points[1]), Side: Side{s.points[1], "vda", "/"}}}
	for range maxHeld {
		if err := d.hold(t.Context(), held{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.all(t.Context()); !errors.Is(err, errHeld) {
		t.Fatalf("one more: %v", err)
	}
	var list []api.FileDiff
	d.plain, d.held, d.emit = true, nil, func(f *api.FileDiff) error { list = append(list, *f); return nil }
	if err := d.all(t.Context()); err != nil || !slices.Equal(said(list), []string{"removed /etc/a", "added /etc/c"}) {
		t.Errorf("%q, %v", said(list), err)
	}
}

// TestAVolumeWhoseDiskDidNotChangeIsPassedOver has /var on a disk of its own.
func TestAVolumeWhoseDiskDidNotChangeIsPassedOver(t *testing.T) {
	t.Parallel()
	needTool(t, "mkfs.ext4", "debugfs")
	dir := scratch(t)
	sh(t, "", `cd "$1"; mkdir -p root/etc root/var var/log; echo "/dev/vda / ext4 d
/dev/vdb /var ext4 d" >root/etc/fstab; for i in $(seq 200); do echo $i >var/log/$i; done; truncate -s 16M vda vdb; mkfs.ext4 -q -d root vda; mkfs.ext4 -q -d var vdb`, dir)
	s := newStore(t)
	day := func() { s.add("web1", disk{"vda", readImage(t, dir+"/vda")}, disk{"vdb", readImage(t, dir+"/vdb")}) }
	day()
	sh(t, "rm /etc/fstab\nwrite root/etc/fstab /etc/fstab\nsif /etc/fstab mode 0100600\n", `cd "$1"; debugfs -w -f - vda`, dir)
	day()
	sh(t, "rm /log/7\n", `cd "$1"; debugfs -w -f - vdb`, dir)
	day()
	list, total := diffOf(t, s.open(), Side{s.points[0], "", "/"}, Side{s.points[1], "", "/"}, DiffOptions{})
	if !slices.Equal(without(said(list), "", ""), []string{"metadata /etc/fstab mode"}) && len(list) != 1 || total.Compared > 20 {
		t.Errorf("%q, %d compared", said(list), total.Compared)
	}
	list, total = diffOf(t, s.open(), Side{s.points[0], "", "/"}, Side{s.points[2], "", "/"}, DiffOptions{})
	if !slices.Contains(said(list), "removed /var/log/7") || total.Compared < 200 {
		t.Errorf("%q, %d compared", said(list), total.Compared)
	}
}

// TestPointsThatCannotBeReadAreNoAbsence has points whose file system is damaged, or whose
// disk is not there, among others.
func TestPointsThatCannotBeReadAreNoAbsence(t *testing.T) {
	t.Parallel()
	g := newGuest(t, "", "16M")
	s := newStore(t)
	g.write("/etc/passwd", []byte("root\n"))
	good := g.night()
	bad := good.cleared(0, 64<<10) // the superblock
	for at := int64(8 << 20); at < bad.size; at += 8 << 20 {
		bad = bad.cleared(at, at+4096) // and its copies
	}
	bad.put(0, append([]byte{1}, zeros[1:]...))
	s.add("web1", disk{"vda", good})
	s.add("web1", disk{"vda", bad})
	s.add("web1", disk{"vdb", good})
	s.add("web1", disk{"vda", good})
	g.remove("/etc/passwd")
	s.add("web1", disk{"vda", g.night()})
	h, err := File(t.Context(), s.open(), s.points, FileOptions{Path: "/etc/passwd", Volume: "vda"})
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, v := range h.Versions {
		states = append(states, fmt.Sprint(v.State, " ", v.Points, " ", v.Changes))
	}
	if want := []string{"file 1 []", "unreadable 1 []", "unreadable 1 []", "file 1 []", "absent 1 [removed]"}; !slices.Equal(states, want) {
		t.Errorf("%q, it should be %q", states, want)
	}
	var lacks *guestfs.NoVolumeError
	if _, err := File(t.Context(), s.open(), s.points, FileOptions{Path: "/etc/passwd", Volume: "vdz"}); !errors.As(err, &lacks) {
		t.Errorf("of a volume that there never was: %v", err)
	}
	if _, err := Diff(t.Context(), s.open(), Side{s.points[0], "vda", "/"}, Side{s.points[1], "vda", "/"}, DiffOptions{}, func(*api.FileDiff) error { return nil }); err == nil {
		t.Error("a point that cannot be read was compared")
	}
}

func TestAPathIsFollowedThroughLinksFoldersAndOtherDisks(t *testing.T) {
	t.Parallel()
	g := newGuest(t, "", "16M")
	s := newStore(t)
	day := func(name string) { s.add("web1", disk{name, g.night()}) }
	g.write("/etc/real", []byte("one"))
	g.symlink("/etc/passwd", "real")
	day("vda")
	g.write("/etc/real", []byte("two"))
	day("vda")
	g.remove("/etc/real")
	day("vda")
	day("sda") // the guest's disk is called otherwise now
	g.remove("/etc/passwd")
	g.say("mkdir /etc/passwd")
	day("sda")
	g.say("rmdir /etc/passwd")
	g.files["/etc/passwd"] = truth{}
	g.write("/etc/passwd", []byte("two"))
	day("sda")
	g.rename("/etc/passwd", "/etc/passwd.old")
	day("sda")
	h, err := File(t.Context(), s.open(), s.points, FileOptions{Path: "/etc/passwd"})
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, v := range h.Versions {
		states = append(states, strings.TrimSpace(fmt.Sprint(v.State, " ", v.Points, " ", strings.Join(v.Changes, ","), " ", v.Target, v.Real, v.Renamed)))
	}
	want := []string{"file 1  /etc/real", "file 1 content,modified /etc/real", "link 2 type real", "folder 1 type", "file 1 type", "absent 1 removed /etc/passwd.old"}
	if !slices.Equal(states, want) {
		t.Errorf("%q, it should be %q", states, want)
	}
}

func TestAHistoryEndsWithItsContextAndAComparisonWithItsListener(t *testing.T) {
	t.Parallel()
	s := twoDays(t, map[string]string{"etc/a": "a", "etc/b": "b"}, "rm /etc/a\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := File(ctx, s.open(), s.points, FileOptions{Path: "/etc/a", Volume: "vda"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a history: %v", err)
	}
	a, b := Side{s.points[0], "vda", "/"}, Side{s.points[1], "vda", "/"}
	if _, err := Diff(ctx, s.open(), a, b, DiffOptions{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a comparison: %v", err)
	}
	full := errors.New("the disk is full")
	if _, err := Diff(t.Context(), s.open(), a, b, DiffOptions{}, func(*api.FileDiff) error { return full }); !errors.Is(err, full) {
		t.Errorf("a listener that fails: %v", err)
	}
}

// TestAPathThatIsNotThereIsNoDifferenceUnlessOnlyOneOfThePointsHasIt compares what is there with what is not.
func TestAPathThatIsNotThereIsNoDifferenceUnlessOnlyOneOfThePointsHasIt(t *testing.T) {
	t.Parallel()
	s := twoDays(t, map[string]string{"etc/a": "a", "etc/b": "b", "opt/x": "x"}, "rm /opt/x\nrmdir /opt\n")
	v := s.open()
	told := func(*api.FileDiff) error { t.Error("something was told"); return nil }
	for _, c := range []struct {
		a, b, says string
		near       []string
	}{
		{"/nope", "/nope", "vda:/nope is neither in web1@2025-01-01T22-00-00Z nor in web1@2025-01-02T22-00-00Z", []string{"etc", "lost+found"}},
		{"/nope", "/not", "vda:/nope is not in web1@2025-01-01T22-00-00Z, and vda:/not is not in", nil},
		{"/etc", "/ect", "vda:/ect is not in web1@2025-01-02T22-00-00Z, while vda:/etc is in web1@2025-01-01T22-00-00Z", []string{"etc", "lost+found"}},
		{"/etc/a/x", "/etc", "vda:/etc/a/x is not in web1@2025-01-01", nil},
	} {
		_, err := Diff(t.Context(), v, Side{s.points[0], "vda", c.a}, Side{s.points[1], "vda", c.b}, DiffOptions{}, told)
		var not *NotThereError
		if !errors.As(err, &not) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), c.says) || c.near != nil && !slices.Equal(not.Names, c.near) {
			t.Errorf("%s and %s: %v, %+v", c.a, c.b, err, not)
		}
	}
	a, b := Side{s.points[0], "vda", "/opt"}, Side{s.points[1], "vda", "/opt/"}
	if list, total := diffOf(t, v, a, b, DiffOptions{}); !slices.Equal(said(list), []string{"removed /opt", "removed /opt/x"}) || total.Missing != "b" {
		t.Errorf("%q, %+v", said(list), total)
	}
	if list, total := diffOf(t, v, b, a, DiffOptions{}); !slices.Equal(said(list), []string{"added /opt", "added /opt/x"}) || total.Missing != "a" {
		t.Errorf("%q, %+v", said(list), total)
	}
	if _, total := diffOf(t, v, Side{s.points[0], "vda", "/etc"}, Side{s.points[1], "vda", "/etc"}, DiffOptions{}); total.Missing != "" {
		t.Errorf("%+v", total)
	}
}

// another adds a point of the disk after a script of debugfs.
func (s *store) another(t *testing.T, script string) {
	t.Helper()
	dir := scratch(t)
	s.last["web1"]["vda"].writeTo(t, filepath.Join(dir, "image"))
	if out := sh(t, script, `cd "$1"; debugfs -w -f - image 2>&1`, dir); strings.Contains(out, "not found") || strings.Contains(out, "sage:") {
		t.Fatal(out)
	}
	s.add("web1", disk{"vda", readImage(t, filepath.Join(dir, "image"))})
}

func TestANameThatAFileHadBeforeIsNotWhatItIsCalledNow(t *testing.T) {
	t.Parallel()
	s := twoDays(t, map[string]string{"etc/a": "text"}, "ln /etc/a /etc/0\nsif /etc/a links_count 2\nsymlink /etc/x y\nsymlink /etc/y x\n")
	s.another(t, "ln /etc/a /etc/b\nunlink /etc/a\n")
	s.another(t, "unlink /etc/b\n")
	for path, want := range map[string][]string{"/etc/a": {"file", "absent /etc/b"}, "/etc/b": {"absent", "file", "absent"}, "/etc/x": {"absent", "link"}} {
		h, err := File(t.Context(), s.open(), s.points, FileOptions{Volume: "vda", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range h.Versions {
			got = append(got, strings.TrimSpace(v.State+" "+v.Renamed))
		}
		if path == "/etc/a" && len(got) == 3 { // the second name changed nothing but the count of names
			got = slices.Delete(got, 0, 1)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		if last := h.Versions[len(h.Versions)-1]; path == "/etc/x" && last.Error != "it leads in a circle" {
			t.Errorf("%+v", last)
		}
	}
}
