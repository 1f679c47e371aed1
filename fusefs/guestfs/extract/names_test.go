package extract

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// several is a guest in which a link, a pipe and a device have two names each.
func several() *treetest.FS {
	f := treetest.New("ext4")
	d := f.Add("d/dev", 0o020666, "")
	d.Major, d.Minor = 1, 3
	for name, n := range map[string]*treetest.Node{"link": f.Symlink("d/link", "nowhere"), "pipe": f.Add("d/pipe", 0o010644, ""), "dev": d} {
		n.Nlink = 2
		f.Link("d/"+name+"2", n)
	}
	return f
}

func TestLinksPipesAndDevicesOfTwoNamesStayOne(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("devices take root")
	}
	check := func(to string) {
		t.Helper()
		for _, name := range []string{"link", "pipe", "dev"} {
			var a, b syscall.Stat_t
			if err := syscall.Lstat(to+"/d/"+name, &a); err != nil {
				t.Error(err)
			}
			if err := syscall.Lstat(to+"/d/"+name+"2", &b); err != nil || a.Ino != b.Ino || a.Nlink != 2 {
				t.Errorf("%s: inodes %d and %d, %d names, %v", name, a.Ino, b.Ino, a.Nlink, err)
			}
		}
	}
	to := t.TempDir()
	if r, err := Copy(t.Context(), places(t, several(), "/d"), to, Options{AsIs: true}); err != nil || r.Failed > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	check(to)
	var b bytes.Buffer
	if r, err := Tar(t.Context(), &b, places(t, several(), "/d"), Options{}); err != nil || r.Failed > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	to = t.TempDir()
	cmd := exec.Command("tar", "-xpf", "-", "-C", to)
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	check(to)
}

// TestDevicesThatAreLeftOutAreNotLinkedTo has a plain copy meet both names of each.
func TestDevicesThatAreLeftOutAreNotLinkedTo(t *testing.T) {
	t.Parallel()
	r, err := Copy(t.Context(), places(t, several(), "/d"), t.TempDir(), Options{})
	if err != nil || r.Failed > 0 || len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], "4 ") || r.Links != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestALinkThatLeadsOutThroughAnotherLinkIsNotMade(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dir, to string
		stays   bool
	}{
		{"a", "../b", true}, {"a/b", "../../c/./d", true}, {"", "a//b/", true}, {"a", "..", true}, {"a", ".", true},
		{"", "..", false}, {"a", "../..", false}, {"a", "/a", false}, {"", "", false},
		{"", "deep/up/../../etc", false}, // deep/up may lead to ..
		{"a/b/c", "x/..", false},
	} {
		if got := staysIn(c.dir, c.to); got != c.stays {
			t.Errorf("a link in %q to %q: stays %v", c.dir, c.to, got)
		}
	}
	outside := t.TempDir()
	if err := os.WriteFile(outside+"/secret", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := treetest.New("ext4")
	f.Symlink("d/deep/up", "..")
	f.Symlink("d/out", "deep/up/../../secret")
	r, err := Copy(t.Context(), places(t, f, "/d"), outside+"/to/", Options{})
	if _, through := os.Stat(outside + "/to/d/out"); err != nil || problems(r) != "/d/out" || through == nil {
		t.Errorf("%+v, %v; a link leads out: %v", r, err, through == nil)
	}
}

func TestWhatALinkLeadToIsCalledLikeTheLink(t *testing.T) {
	t.Parallel()
	f := sample()
	f.Symlink("home/ann/current", "bin")
	view := viewOf(t, f)
	var p []guestfs.Place
	for _, path := range []string{"/home/ann/here", "/home/ann/current/"} {
		at, err := view.Resolve(path)
		if err != nil {
			t.Fatal(err)
		}
		p = append(p, at)
	}
	to := t.TempDir()
	if r, err := Copy(t.Context(), p, to, Options{}); err != nil || r.Files != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, name := range []string{"here", "current/tool"} {
		if b, err := os.ReadFile(to + "/" + name); err != nil || string(b) != "#!/bin/sh\n" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	var b bytes.Buffer
	if _, err := Tar(t.Context(), &b, p, Options{}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tar", "-tf", "-")
	cmd.Stdin = &b
	if out, err := cmd.Output(); err != nil || string(out) != "here\ncurrent/\ncurrent/tool\ncurrent/up\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestAnACLIsAlsoWhereTarLooksForIt(t *testing.T) {
	t.Parallel()
	acl := "\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x07\x00\xe8\x03\x00\x00" +
		"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"
	if text, ok := aclText([]byte(acl)); !ok || text != "user::rw-,user:1000:rwx,group::r--,mask::rwx,other::---" {
		t.Errorf("%q, %v", text, ok)
	}
	for _, bad := range []string{"", "\x02\x00\x00", "\x01\x00\x00\x00", acl[:len(acl)-1], "\x02\x00\x00\x00\x03\x00\x06\x00\xff\xff\xff\xff"} {
		if text, ok := aclText([]byte(bad)); ok {
			t.Errorf("%q is taken for %q", bad, text)
		}
	}
}

// TestManySmallFilesTakeNoMoreMemoryThanOne would allocate a chunk for each of them otherwise.
func TestManySmallFilesTakeNoMoreMemoryThanOne(t *testing.T) {
	r := &Result{}
	if n := testing.AllocsPerRun(100, func() { r.buffer(10) }); n > 0 {
		t.Errorf("%v allocations for a file", n)
	}
	if n := len(r.buffer(5 << 30)); n != chunk {
		t.Errorf("a large file goes through %d bytes", n)
	}
}

// TestAFolderThatIsClosedToAllKeepsItsTimes as a user whom permissions bind.
func TestAFolderThatIsClosedToAllKeepsItsTimes(t *testing.T) {
	if os.Getenv("HOLDFAST_TEST_COPY_TO") == "" && os.Geteuid() == 0 {
		to, err := os.MkdirTemp("", "closed")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(to)
		self := to + "/test" // a copy that this user may run
		// By another process: a file that a fork of ours holds open for writing cannot be run.
		err = exec.Command("cp", fmt.Sprintf("/proc/%d/exe", os.Getpid()), self).Run()
		if err = errors.Join(err, os.Chmod(self, 0o755), os.Chmod(to, 0o755), os.Mkdir(to+"/x", 0o777), os.Chmod(to+"/x", 0o777)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), self, "-test.run", "^"+t.Name()+"$")
		cmd.Dir, cmd.Env = "/", append(os.Environ(), "HOLDFAST_TEST_COPY_TO="+to+"/x", "TMPDIR="+to+"/x")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	to := os.Getenv("HOLDFAST_TEST_COPY_TO")
	if to == "" {
		to = t.TempDir()
	}
	f := treetest.New("ext4")
	f.At("locked").Mode = 0o040000
	f.File("locked/file", "x").Mode = 0o100000
	r, err := Copy(t.Context(), places(t, f, "/locked"), to, Options{AsIs: true})
	if err != nil || r.Failed > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if info, err := os.Stat(to + "/locked"); err != nil || info.Mode().Perm() != 0 || info.ModTime().Nanosecond() != 567890123 {
		t.Errorf("%v, %v", info, err)
	}
	os.Chmod(to+"/locked", 0o700)
}

func TestANameInAZipLeadsNowhereOnWindows(t *testing.T) {
	t.Parallel()
	f := treetest.New("ext4")
	for _, name := range []string{`..\..\evil.txt`, `C:\evil.txt`, `\evil.txt`} {
		f.Add("d/"+name, 0o100644, "x")
	}
	var b bytes.Buffer
	r, err := Zip(t.Context(), &b, places(t, f, "/d"), Options{})
	if err != nil || r.Failed > 0 || r.Files != 3 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "3 names hold a backslash") {
		t.Errorf("%+v %v", r, err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range z.File {
		if strings.Contains(e.Name, `\`) || !strings.HasPrefix(e.Name, "d/") {
			t.Errorf("an entry is called %q", e.Name)
		}
	}
}

func TestAPlaceThatLiesInAnotherIsCopiedWithBoth(t *testing.T) {
	t.Parallel()
	to := t.TempDir()
	r, err := Copy(t.Context(), places(t, sample(), "/home", "/home/ann/bin"), to, Options{})
	if err != nil || r.Damaged {
		t.Errorf("%+v, %v", r, err)
	}
	for _, name := range []string{"/home/ann/bin/tool", "/bin/tool"} {
		if b, err := os.ReadFile(to + name); err != nil || string(b) != "#!/bin/sh\n" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}
