package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// stranger is a user of the host who is not root, with a folder that nobody else may enter.
type stranger struct {
	*service
	uid, gid uint32
	home     string
}

const strangerGroup = 65534 // nogroup, where there is one

// newStranger makes one who reaches the daemon of a place.
func newStranger(s *service) *stranger {
	s.t.Helper()
	needs.Root(s.t)
	u := &stranger{service: s, uid: 54321, gid: strangerGroup, home: filepath.Join(s.t.TempDir(), "home")}
	if err := os.Mkdir(u.home, 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chown(u.home, int(u.uid), int(u.gid)); err != nil {
		s.t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(binary), filepath.Dir(s.run), filepath.Dir(s.path), filepath.Dir(filepath.Dir(s.path)), filepath.Dir(u.home), filepath.Dir(filepath.Dir(u.home))} {
		if st, err := os.Stat(dir); err != nil || os.Chmod(dir, st.Mode().Perm()|0o055) != nil {
			s.t.Fatalf("%s cannot be opened to others: %v", dir, err)
		}
	}
	return u
}

// does runs a command as the user, in its folder.
func (u *stranger) does(code int, args ...string) outcome {
	u.t.Helper()
	p := u.begins(args...)
	return p.expect(code)
}

func (u *stranger) begins(args ...string) *running {
	u.t.Helper()
	cmd := u.command(args...)
	cmd.Dir = u.home
	cmd.Env = append(cmd.Env, "HOLDFAST_STATE="+filepath.Join(u.home, "state"), "HOME="+u.home)
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: u.uid, Gid: u.gid}
	p := &running{t: u.t, cmd: cmd}
	cmd.Stdout, cmd.Stderr = &p.out, &p.err
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	return p
}

// owns makes a file the user's own, 0600 in its folder.
func (u *stranger) owns(name, from string) string {
	u.t.Helper()
	at := filepath.Join(u.home, name)
	if from != "" {
		tool(u.t, "cp", "--sparse=always", from, at)
	}
	if err := os.Chmod(at, 0o600); err != nil {
		u.t.Fatal(err)
	}
	if err := os.Chown(at, int(u.uid), int(u.gid)); err != nil {
		u.t.Fatal(err)
	}
	return at
}

// shown is what point show tells of how a point came about.
func (s *service) shown(ref string) (reason, source string) {
	s.t.Helper()
	var p struct {
		Reason string `json:"consistency_reason"`
		Disks  []struct{ Source string }
	}
	o := s.must(0, "point", "show", ref, "--json")
	if err := json.Unmarshal([]byte(o.out), &p); err != nil || len(p.Disks) == 0 {
		s.t.Fatalf("%v: %s", err, o.out)
	}
	return p.Reason, p.Disks[0].Source
}

const forStrangers = "group: nogroup\ngroup-role: none\n"

func TestAUserWhoIsNotRootBacksUpImagesThatHeOpensHimself(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img", "qemu-nbd")
	s := newService(t, newVault(t), forStrangers)
	u := newStranger(s)
	p := s.begin()
	raw := u.owns("vda.raw", randomImage(t, "a", 300))
	if o := u.does(8, "backup", "web1", "--disk", "vda=vda.raw"); !strings.Contains(o.err, "holdfast grant 54321") {
		t.Errorf("without a grant: %s", o.err)
	}
	s.must(0, "grant", "54321", "operator", "--machines", "web*")

	o := u.does(0, "backup", "web1", "--disk", "vda=vda.raw")
	byRoot := s.must(0, "backup", "db1", "--disk", "vda="+randomImage(t, "b", 300))
	if a, b := s.same(o.out+o.err), s.same(byRoot.out+byRoot.err); strings.ReplaceAll(a, "web1", "db1") != b {
		t.Errorf("the user is told\n%s, and root\n%s", a, b)
	}
	if s.restored("web1", "latest") != hashFile(t, raw) {
		t.Error("the point holds something else")
	}
	if reason, source := s.shown("web1@latest"); source != raw || !strings.Contains(reason, "image that 54321 opened") {
		t.Errorf("the point says %q of %q", reason, source)
	}
	if o := u.does(0, "backup", "web1", "--disk", "vda="+raw, "--skip-unchanged"); !strings.Contains(o.out, "taken over unread") {
		t.Errorf("%s", o.out)
	}

	tool(t, "qemu-img", "convert", "-O", "qcow2", raw, filepath.Join(u.home, "base.qcow2"))
	tool(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", filepath.Join(u.home, "top.qcow2"))
	base, top := u.owns("base.qcow2", ""), u.owns("top.qcow2", "")
	u.does(0, "backup", "web2", "--disk", "vdb="+top+",format=qcow2,backing=.", "--disk", "vda="+base+",format=qcow2")
	s.must(0, "diff", "web2@latest", "web2@latest")
	if s.restored("web1", "latest") != restoredDisk(s, "web2", "vdb") || s.restored("web1", "latest") != restoredDisk(s, "web2", "vda") {
		t.Error("a disk of qcow2 images holds something else")
	}
	for _, j := range s.jobs("backup") {
		if j.State != "completed" {
			t.Errorf("%+v", j)
		}
	}
	s.end(p)
	s.must(0, "check", "--data")
}

// restoredDisk restores one disk of a machine's newest point and returns its hash.
func restoredDisk(s *service, machine, disk string) string {
	s.t.Helper()
	target := filepath.Join(s.t.TempDir(), "restored.raw")
	s.must(0, "restore", machine+"@latest", "--disk", disk, "--to", target)
	return hashFile(s.t, target)
}

func TestWhatAUserMayNotReadTheDaemonDoesNotReadForHim(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img")
	s := newService(t, newVault(t), forStrangers)
	u := newStranger(s)
	p := s.begin()
	s.must(0, "grant", "54321", "operator", "--machines", "web*")
	foreign := randomImage(t, "root.raw", 64)
	if err := os.Chmod(foreign, 0o600); err != nil {
		t.Fatal(err)
	}
	mine := u.owns("vda.raw", foreign)
	tool(t, "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", filepath.Join(u.home, "q"), "64K")
	crafted := u.owns("q", "")
	if err := os.Symlink(foreign, filepath.Join(u.home, "link")); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		code int
		disk string
		want string
	}{
		{1, foreign, "permission denied"},
		{1, "link", "permission denied"},
		{1, "/etc/shadow", "permission denied"},
		{6, "none.raw", "no such file"},
		{1, ".", "a folder"},
		{1, "/dev/null", "a character device"},
		{1, "/proc/self/environ", "not known to hold images"},
		{1, crafted + ",format=qcow2", "is not followed"},
		{1, crafted + ",format=qcow2,backing=/etc", "permission denied"},
		{1, crafted, "add format=qcow2"},
	} {
		if o := u.does(row.code, "backup", "web1", "--disk", "vda="+row.disk); !strings.Contains(o.err, row.want) {
			t.Errorf("%s: %s", row.disk, o.err)
		}
	}
	if n := len(s.points()); n != 0 {
		t.Fatalf("%d points", n)
	}
	if o := u.does(8, "backup", "db1", "--disk", "vda="+mine); !strings.Contains(o.err, "holdfast grant 54321") {
		t.Errorf("%s", o.err)
	}
	s.must(0, "protect", "web3", "--disk", "vda="+foreign)
	if o := u.does(8, "backup", "web3", "--disk", "vda="+mine); !strings.Contains(o.err, "is protected") {
		t.Errorf("%s", o.err)
	}
	u.does(0, "backup", "web3")

	qemu, err := os.OpenFile(mine, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer qemu.Close()
	lock := unix.Flock_t{Type: unix.F_RDLCK, Start: 101, Len: 1} // as a QEMU that writes
	if err := unix.FcntlFlock(qemu.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		t.Fatal(err)
	}
	if o := u.does(5, "backup", "web1", "--disk", "vda="+mine); !strings.Contains(o.err, "is in use") {
		t.Errorf("%s", o.err)
	}
	u.does(3, "backup", "web1", "--disk", "vda="+mine, "--allow-in-use")
	s.end(p)
}

func TestAFileOfAFUSEMountIsNotReadForAUser(t *testing.T) {
	t.Parallel()
	s := newService(t, newVault(t), forStrangers)
	u := newStranger(s)
	needFUSE(t)
	image := randomImage(t, "a", 64)
	p := s.begin()
	s.must(0, "backup", "web1", "--disk", "vda="+image)
	s.must(0, "grant", "54321", "operator", "--machines", "web*")
	at := filepath.Join(filepath.Dir(u.home), "mnt")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	m := s.start("mount", at, "--allow-other")
	defer func() {
		m.signal(syscall.SIGINT)
		m.wait()
		exec.Command("fusermount3", "-u", "-z", "-q", at).Run()
	}()
	disk := filepath.Join(at, "web1", "latest", "disks", "vda.raw")
	eventually(t, "the mount shows the disk", func() bool { _, err := os.Stat(disk); return err == nil })
	if o := u.does(1, "backup", "web2", "--disk", "vda="+disk); !strings.Contains(o.err, "FUSE") {
		t.Errorf("%s", o.err)
	}
	s.end(p)
}

func TestABackupOfOpenFilesOutlivesItsClientAndIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	s := newService(t, newVault(t), forStrangers+"jobs: {shutdown-limit: 0s}\n")
	u := newStranger(s)
	p := s.begin()
	s.must(0, "grant", "54321", "operator", "--machines", "web*")
	mine := u.owns("vda.raw", randomImage(t, "a", 256))
	state := func(machine, state string) func() bool {
		return func() bool {
			for _, j := range s.jobs("backup") {
				if j.Machine == machine {
					return j.State == state
				}
			}
			return false
		}
	}
	client := u.begins("backup", "web1", "--disk", "vda="+mine, "--rate", "512KiB")
	eventually(t, "the backup runs", func() bool { return state("web1", "running")() || state("web1", "completed")() })
	client.signal(syscall.SIGKILL)
	client.wait()
	away := u.home + ".away" // which does nothing to the image itself: a change of it while it is read is told
	if err := os.Rename(u.home, away); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the backup is made without its client", state("web1", "completed"))
	if err := os.Rename(away, u.home); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its files are closed", func() bool { return heldOpen(p.cmd.Process.Pid, u.home) == 0 })

	mine = u.owns("vdb.raw", randomImage(t, "b", 4<<10))
	slow := u.begins("backup", "web2", "--disk", "vda="+mine, "--rate", "16KiB")
	eventually(t, "the slow backup runs", state("web2", "running"))
	again := s.must(2, "job", "retry", s.jobs("backup")[1].ID) // of one that was made
	if !strings.Contains(again.err, "completed") {
		t.Errorf("%s", again.err)
	}
	p.signal(syscall.SIGKILL)
	p.wait()
	slow.signal(syscall.SIGKILL)
	slow.wait()
	p = s.begin()
	list := s.jobs("backup")
	if len(list) != 2 || list[0].State != "interrupted" {
		t.Fatalf("%+v", list)
	}
	if o := s.must(0, "job", "show", list[0].ID); !strings.Contains(o.out, "open files of 54321") || strings.Contains(o.out, "job retry") {
		t.Errorf("%s", o.out)
	}
	if o := s.must(2, "job", "retry", list[0].ID); !strings.Contains(o.err, "had opened") {
		t.Errorf("%s", o.err)
	}
	if n := len(s.points()); n != 1 {
		t.Errorf("%d points", n)
	}
	s.end(p)
}

// heldOpen counts the open files of a process below a folder.
func heldOpen(pid int, folder string) (n int) {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, folder) {
			n++
		}
	}
	return n
}
