package fusefs

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

func TestMountpointsThatWillNotDoAreRefusedWithTheReason(t *testing.T) {
	v := newFakeVault()
	v.add("web", day, holey(1<<20, 1))
	m, _ := mount(t, v, Options{})
	dir := t.TempDir()
	os.WriteFile(dir+"/file", nil, 0o600)
	os.MkdirAll(dir+"/full/x", 0o700)
	os.MkdirAll(dir+"/vault/packs", 0o700)
	os.Symlink(dir+"/vault", dir+"/link")
	v.info.Path = dir + "/link"
	for path, want := range map[string]string{
		dir + "/missing":     "no such folder",
		dir + "/file":        "is not a folder",
		dir + "/full":        `is not empty ("x" is in it)`,
		dir + "/vault/packs": "inside the vault",
		dir + "/link/packs":  "inside the vault",
		m:                    "holdfast:fake (fuse.holdfast) is mounted there already",
		"/proc":              "(proc) is mounted there already",
	} {
		s, err := Mount(context.Background(), path, v, Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
		if err == nil {
			s.Unmount()
		}
	}
}

func TestAMountLeftByAKilledProcessIsTakenAwayByTheNext(t *testing.T) {
	v := newFakeVault()
	v.add("web", day, holey(1<<20, 1))
	dir := t.TempDir()
	leaveStale(t, dir)
	leaveStale(t, dir) // which takes the first away itself
	s, err := Mount(context.Background(), dir, v, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Unmount()
	if at, _ := mountsAt(dir); len(at) != 1 {
		t.Errorf("mounted there: %v", at)
	}
	if got := sh(t, dir, `cat $M/web/latest/config/domain.xml`); got != "<domain/>\n" {
		t.Errorf("read %q", got)
	}
}

// leaveStale has another process mount at dir and kills it.
func leaveStale(t *testing.T, dir string) {
	t.Helper()
	_, err := os.Stat("/dev/fuse")
	needs.That(t, err == nil, "/dev/fuse")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	said, err := bufio.NewReader(out).ReadString('\n')
	if said != "mounted <nil>\n" {
		t.Fatalf("the child says %q, %v", said, err)
	}
	cmd.Process.Kill()
	io.Copy(io.Discard, out)
	cmd.Wait()
	eventually(t, "the mount is dead", func() bool { return stale(dir) })
}

func TestABusyMountSaysWhoIsBusyAndGoesOn(t *testing.T) {
	v := newFakeVault()
	v.add("web", day, holey(1<<20, 1))
	m, s := mount(t, v, quick())
	cmd := exec.Command("sh", "-c", `exec 9< "$M/web/latest/disks/vda.raw"; echo ready; read x; cd "$M/web"; exec 9<&-; echo ready; read x`)
	cmd.Env = append(os.Environ(), "M="+m)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	lines := bufio.NewReader(out)
	for _, use := range []string{"open file web/" + point1 + "/disks/vda.raw", "working folder web"} {
		lines.ReadString('\n')
		err := s.Unmount()
		var busy *BusyError
		if !errors.As(err, &busy) || len(busy.Users) != 1 || !strings.Contains(err.Error(), "sh (pid ") || !strings.Contains(err.Error(), use) {
			t.Errorf("unmounting says %v, want %s", err, use)
		}
		if !exists(filepath.Join(m, "web")) {
			t.Fatal("the mount is gone though it was in use")
		}
		in.Write([]byte("\n"))
	}
}

func TestTheEndOfTheContextUnmountsOnceNobodyIsInTheWay(t *testing.T) {
	v := newFakeVault()
	v.add("web", day, holey(1<<20, 1))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir := t.TempDir()
	s, err := Mount(ctx, dir, v, quick())
	if err != nil {
		t.Fatal(err)
	}
	stopPolling(t, dir)
	f, err := os.Open(filepath.Join(dir, "web/latest/point.json"))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	time.Sleep(50 * time.Millisecond)
	if _, err := f.Read(make([]byte, 10)); err != nil {
		t.Errorf("the mount does not serve its last user: %v", err)
	}
	f.Close()
	s.Wait()
	if at, _ := mountsAt(dir); len(at) != 0 {
		t.Errorf("still mounted: %v", at)
	}
	if err := s.Unmount(); err != nil {
		t.Errorf("unmounting again: %v", err)
	}
}

func TestALazyUnmountHidesTheMountAndServesOpenFiles(t *testing.T) {
	v := newFakeVault()
	v.add("web", day, holey(1<<20, 1))
	m, s := mount(t, v, quick())
	f, err := os.Open(filepath.Join(m, "web/latest/disks/vda.raw"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.UnmountLazily(); err != nil {
		t.Fatal(err)
	}
	if exists(filepath.Join(m, "web")) {
		t.Error("the mount is in sight still")
	}
	if _, err := f.ReadAt(make([]byte, 1<<20), 0); err != nil {
		t.Errorf("the open file reads with %v", err)
	}
	f.Close()
	s.Wait()
}

func TestFusermountMountsWhatMount2MayNot(t *testing.T) {
	needs.Tools(t, "fusermount3")
	v := newFakeVault()
	d := holey(1<<20, 1)
	v.add("web", day, d)
	o := quick()
	o.helperOnly = true
	m, _ := mount(t, v, o)
	if got := sh(t, m, `cat $M/web/latest/disks/vda.raw`); got != string(d.data) {
		t.Error("the disk differs")
	}
	if got := sh(t, m, `grep " $M " /proc/mounts`); !strings.HasPrefix(got, "holdfast:fake ") || !strings.Contains(got, "ro,nosuid,nodev,noexec") {
		t.Errorf("mounted as %s", got)
	}
}

func TestAUserWhoIsNotRootMountsReadsAndUnmounts(t *testing.T) {
	needs.Root(t) // to become somebody else
	needs.Tools(t, "fusermount3")
	needs.That(t, !otherAllowed("/etc/fuse.conf"), "an /etc/fuse.conf without user_allow_other")
	if info, err := os.Stat("/dev/fuse"); err != nil || info.Mode()&0o006 != 0o006 {
		t.Skip("needs a /dev/fuse that is open to users")
	}
	dir := scratch(t)
	const nobody = 65534
	sh(t, dir, `chmod 755 $M; cp /proc/$PPID/exe $M/tests; mkdir $M/m; chown 65534 $M/m`)
	cmd := exec.Command(dir + "/tests")
	cmd.Env = append(os.Environ(), roundEnv+"="+dir+"/m", "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "<domain/>\n<nil> <nil>\n") || !strings.Contains(string(out), "user_allow_other") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestOnlyTheAdministratorsLineLetsUsersShareMounts(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "fuse.conf")
	for text, want := range map[string]bool{
		"user_allow_other\n": true, "a\n  user_allow_other  ": true,
		"#user_allow_other\n": false, "": false, "user_allow_others": false,
	} {
		os.WriteFile(conf, []byte(text), 0o600)
		if got := otherAllowed(conf); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if otherAllowed(conf + ".missing") {
		t.Error("a missing file allows")
	}
}

func TestMountinfoIsUnderstood(t *testing.T) {
	got, err := parseMounts(strings.NewReader(`36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
nonsense
40 35 0:52 / /mnt/with\040space\134\011 ro shared:3 master:9 - fuse.holdfast holdfast:a\040b ro
41 35 0:53 / /bad\04 ro - x`))
	want := mountEntry{device: "0:52", path: "/mnt/with space\\\t", kind: "fuse.holdfast", source: "holdfast:a b"}
	if err != nil || len(got) != 2 || got[1] != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzMountinfo(f *testing.F) {
	f.Add("40 35 0:52 / /mnt/with\\040space ro shared:3 master:9 - fuse.holdfast a ro")
	f.Add(`1 2 3 4 \0 - \ \777`)
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseMounts(strings.NewReader(text))
		if len(all) > strings.Count(text, "\n")+1 || (err != nil && len(text) < 1<<20) {
			t.Errorf("%d entries, %v", len(all), err)
		}
	})
}
