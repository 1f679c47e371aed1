package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// packsOf counts the files under packs, finished or not.
func packsOf(v vault) (n int) {
	filepath.WalkDir(filepath.Join(v.path, "packs"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return nil // a file may be renamed meanwhile
	})
	return n
}

// TestASecondWriterWaitsOrIsTold holds one backup in its middle and starts others.
func TestASecondWriterWaitsOrIsTold(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	first := v.start("backup", "web1", "--disk", "vda="+noisyImage(t, 4, 300), "--rate", "64MiB") // it takes 4 seconds
	eventually(t, "the first backup writes", func() bool { return packsOf(v) > 0 })
	defer first.signal(syscall.SIGCONT)
	if !first.stop() {
		t.Fatalf("the first backup is over: %s", first.wait().err)
	}

	small := noisyImage(t, 5, 2)
	told := v.must(5, "backup", "web2", "--disk", "vda="+small, "--no-wait")
	if pid := strconv.Itoa(first.cmd.Process.Pid); !strings.Contains(told.err, pid) {
		t.Errorf("the message does not name process %s: %s", pid, told.err)
	}
	waiting := v.start("backup", "web2", "--disk", "vda="+small)
	eventually(t, "the second backup says for whom it waits", func() bool { return strings.Contains(waiting.err.String(), "waiting: ") || waiting.ended() })
	time.Sleep(300 * time.Millisecond) // it must still be waiting whenever we look
	if waiting.ended() {
		t.Errorf("the second backup did not wait: %s", waiting.err.String())
	}
	first.signal(syscall.SIGCONT)
	first.expect(0)
	waiting.expect(0)
	if n := len(v.points()); n != 2 {
		t.Errorf("%d points, want 2", n)
	}
	v.must(0, "check", "--data")
}

// TestReadersAndAWriterDoNotDisturbEachOther runs a mount, restores and checks in other
// processes while backups go on, and sees new points appear in the mount.
func TestReadersAndAWriterDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	rng := newRand(t)
	image := noisyImage(t, rng.Uint64(), 48)
	v := newVault(t)
	v.backup("web1", image)
	before, id := hashFile(t, image), v.points()[0].ID
	at, _ := v.mounted()

	for range 3 {
		change(t, image, rng, 200)
		writer := v.start("backup", "web1", "--disk", "vda="+image)
		check := v.start("check", "--data")
		target := filepath.Join(t.TempDir(), "r.raw")
		restore := v.start("restore", "web1@"+id, "--to", target)
		if got := hashFile(t, filepath.Join(at, "web1", "latest", "disks", "vda.raw")); got == "" {
			t.Error("nothing read from the mount")
		}
		writer.expect(0)
		check.expect(0)
		restore.expect(0)
		if hashFile(t, target) != before {
			t.Fatal("a restore beside a backup differs")
		}
	}
	now := hashFile(t, image)
	latest := filepath.Join(at, "web1", "latest", "disks", "vda.raw")
	eventually(t, "the mount shows the newest point", func() bool { return hashFile(t, latest) == now })
}

// TestDamageIsFoundNamedAndNeverRestored flips one byte of a pack.
func TestDamageIsFoundNamedAndNeverRestored(t *testing.T) {
	t.Parallel()
	image := noisyImage(t, 6, 8)
	v := newVault(t)
	v.backup("web1", image)
	pack := someFile(t, filepath.Join(v.path, "packs"))
	flipByte(t, pack)

	if o := v.must(4, "check", "--data"); !strings.Contains(o.out+o.err, "web1") {
		t.Errorf("the check does not name the machine that is harmed: %s%s", o.out, o.err)
	}
	target := filepath.Join(t.TempDir(), "r.raw")
	v.must(4, "restore", "web1@latest", "--to", target)
	if _, err := os.Stat(target); err == nil {
		t.Error("a damaged restore left a file under the final name")
	}
	v.must(4, "restore", "web1@latest", "--to", target, "--skip-damaged")
	if _, err := os.Stat(target); err != nil {
		t.Errorf("--skip-damaged left no file: %v", err)
	}
}

// flipByte changes one byte in the middle of a file, whatever its mode.
func flipByte(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestExitCodesTellWhatHappened asks for each kind of failure that needs nothing
// special of the host.
func TestExitCodesTellWhatHappened(t *testing.T) {
	t.Parallel()
	image := noisyImage(t, 7, 1)
	v := newVault(t)
	v.backup("web1", image)
	id := v.points()[0].ID
	exists := filepath.Join(t.TempDir(), "exists")
	if err := os.WriteFile(exists, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		args []string
	}{
		{0, []string{"--help"}},
		{0, []string{"points", "web1"}},
		{0, []string{"points", "--json", "--vault", v.path}},
		{0, []string{"point", "show", "web1@" + id[:6]}},
		{0, []string{"diff", "web1@latest", "web1@" + id}},
		{6, []string{"backup", "web1", "--disk", "vda=/nonexistent/disk.raw"}},
		{1, []string{"restore", "web1@latest", "--to", exists}},
		{2, []string{"bakcup", "web1"}},
		{2, []string{"backup"}},
		{6, []string{"backup", "web1"}}, // it is not protected
		{2, []string{"backup", "web1", "--disk"}},
		{2, []string{"backup", "../x", "--disk", "vda=" + image}},
		{2, []string{"backup", "a b", "--disk", "vda=" + image}},
		{2, []string{"backup", "latest", "--disk", "vda=" + image}},
		{2, []string{"backup", strings.Repeat("x", 10000), "--disk", "vda=" + image}},
		{2, []string{"backup", "web1", "--disk", "v\x01a=" + image}},
		{2, []string{"restore", "web1@latest", "--no-such-flag"}},
		{6, []string{"point", "show", "web1@p0000000000000000"}},
		{6, []string{"restore", "web9@latest", "--to", filepath.Join(t.TempDir(), "x")}},
		{6, []string{"points", "--vault", "/nonexistent/vault"}},
	} {
		if o := v.run(c.args...); o.code != c.code {
			t.Errorf("holdfast %.60q: exit code %d, want %d\n%.300s%.300s", c.args, o.code, c.code, o.out, o.err)
		} else if c.code != 0 && !strings.Contains(o.err, "error:") {
			t.Errorf("holdfast %.60q: no line begins with error: on standard error: %s", c.args, o.err)
		}
	}
	if content, _ := os.ReadFile(exists); string(content) != "mine" {
		t.Error("a refused restore touched the file that was there")
	}
}
