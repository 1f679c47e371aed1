package blockstore

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const shortPatience = 200 * time.Millisecond

// TestAVaultThatHangsEndsTheBackupAndHarmsNoPoint holds one sync up. A backup that
// had its segment by then is put back from it, as after a kill.
func TestAVaultThatHangsEndsTheBackupAndHarmsNoPoint(t *testing.T) {
	for _, where := range []string{"packs/", "segments/", "points/"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			dir := vaultIn(t, sampleBlock)
			o := ownVault(t, dir, OwnOptions{})
			backUp(t, o, "web1", map[string]Source{"vda": memory("some content")})
			o.dir.Watch(shortPatience, nil)
			thaw := make(chan struct{})
			was := o.dir.Ops.Sync
			o.dir.Ops.Sync = func(f *os.File, name string) error {
				if strings.HasPrefix(name, where) {
					<-thaw
				}
				return was(f, name)
			}
			err := tryBackup(t, o, "web1", memory("other content"))
			var hang *HangError
			if !errors.As(err, &hang) || hang.For != shortPatience {
				t.Errorf("the backup ended with %v", err)
			}
			if _, err := o.Sweep(t.Context(), SweepOptions{}); !errors.As(err, &hang) {
				t.Errorf("a sweep ended with %v", err)
			}
			if err := o.Close(); !errors.As(err, &hang) {
				t.Errorf("Close ended with %v", err)
			}
			close(thaw)
			// The lock is given up when what was left behind has ended.
			next, err := Own(t.Context(), dir, OwnOptions{MinFree: -1, Wait: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			defer next.Close()
			r := mustCheck(t, next.Vault)
			if r.Points != 1 && !(r.Points == 2 && where == "points/") {
				t.Errorf("%d points, want the one that was there", r.Points)
			}
		})
	}
}

func tryBackup(t *testing.T, o *Owner, machine string, src Source) error {
	t.Helper()
	b, err := o.Begin(t.Context(), BackupOptions{Machine: machine, Time: time.Now(), Asked: Crash, Reached: Crash})
	if err != nil {
		return err
	}
	defer b.Abort()
	if err := b.AddDisk(t.Context(), DiskInfo{Name: "vda", Format: "raw"}, src, nil); err != nil {
		return err
	}
	_, err = b.Commit(t.Context())
	return err
}

// TestAFrozenFileSystemEndsTheBackup freezes a file system of its own under a vault.
func TestAFrozenFileSystemEndsTheBackup(t *testing.T) {
	at := mountExt4(t, 64)
	dir := filepath.Join(at, "vault")
	if _, err := Create(t.Context(), dir, CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	o := ownVault(t, dir, OwnOptions{})
	want := backUp(t, o, "web1", map[string]Source{"vda": memory("some content")})
	command(t, "fsfreeze", "-f", at)
	o.dir.Watch(shortPatience, nil)
	frozen := true
	thaw := func() {
		if frozen {
			command(t, "fsfreeze", "-u", at)
			frozen = false
		}
	}
	t.Cleanup(thaw)
	err := tryBackup(t, o, "web1", memory(bytes.Repeat([]byte("other"), 100<<10)))
	var hang *HangError
	if !errors.As(err, &hang) || !strings.Contains(err.Error(), dir) {
		t.Errorf("the backup ended with %v", err)
	}
	if err := o.Close(); !errors.As(err, &hang) {
		t.Errorf("Close ended with %v", err)
	}
	// Reading goes on: nothing has to be written for it.
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := readDisk(t, v, want, "vda"); string(got) != "some content" {
		t.Errorf("reads %q", got)
	}
	v.Close()
	thaw()
	next, err := Own(t.Context(), dir, OwnOptions{MinFree: -1, Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	mustCheck(t, next.Vault)
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
}

func command(t *testing.T, words ...string) {
	t.Helper()
	c := exec.Command(words[0], words[1:]...)
	c.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	path, err := exec.LookPath(words[0])
	if err != nil {
		path = filepath.Join("/usr/sbin", words[0])
	}
	c.Path, c.Err = path, nil
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", strings.Join(words, " "), err, out)
	}
}
