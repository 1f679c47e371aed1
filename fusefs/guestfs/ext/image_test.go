package ext

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// missing skips a test whose tools are not there, but not where all must be.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("HOLDFAST_CI") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// tool runs a program that must succeed, and returns what it says.
func tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := try(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "LC_ALL=C.UTF-8", "MKE2FS_SKIP_CHECK_MSG=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func need(t testing.TB, tools ...string) {
	t.Helper()
	for _, name := range tools {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if _, err := os.Stat("/usr/sbin/" + name); err != nil {
			missing(t, "%s is not installed", name)
		}
	}
}

// mkfs makes an image; the last options are mke2fs's own.
func mkfs(t testing.TB, size int64, options ...string) string {
	t.Helper()
	need(t, "mke2fs", "debugfs", "e2fsck")
	image := filepath.Join(scratch(t), "image")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	f.Close()
	tool(t, "mke2fs", append(append([]string{"-q", "-F"}, options...), image)...)
	return image
}

// scratch is a folder in memory where there is one: an image has to be synced to
// and copied often.
func scratch(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-ext-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// mounted mounts an image through a loop device, which goes with the mount. It is
// unmounted when the test ends, or before by the function returned.
func mounted(t testing.TB, image, options string) (dir string, unmount func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "only root mounts images")
	}
	need(t, "losetup", "mount")
	dir = filepath.Join(scratch(t), "mount")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if options != "" {
		options = "," + options
	}
	if out, err := try("mount", "-t", "ext4", "-o", "loop"+options, image, dir); err != nil {
		if plain := mountsPlain(); plain != nil {
			missing(t, "images cannot be mounted here: %v", plain)
		}
		t.Skipf("this kernel lacks a feature: %s", out)
	}
	done := false
	unmount = func() {
		if done {
			return
		}
		done = true
		for range 50 { // somebody else may look at it
			if syscall.Unmount(dir, 0) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		syscall.Unmount(dir, syscall.MNT_DETACH)
		t.Errorf("%s was still in use", dir)
	}
	t.Cleanup(unmount)
	return dir, unmount
}

// mountsPlain tells whether images can be mounted at all.
var mountsPlain = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "holdfast-ext-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	image, on := filepath.Join(dir, "image"), filepath.Join(dir, "on")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 8<<20), os.Mkdir(on, 0o700)); err != nil {
		return err
	}
	if out, err := try("mke2fs", "-q", "-F", "-t", "ext4", image); err != nil {
		return errors.New(out)
	}
	if out, err := try("mount", "-o", "loop", image, on); err != nil {
		return errors.New(out)
	}
	return syscall.Unmount(on, 0)
})

// opened opens an image with the reader that is tested.
func opened(t testing.TB, image string, o tree.Options) *volume {
	t.Helper()
	v, err := openFile(t, image, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func openFile(t testing.TB, image string, o tree.Options) (*volume, error) {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if !Format.Probe(f, st.Size()) {
		return nil, fmt.Errorf("%s is not taken for an ext file system", image)
	}
	fsys, err := Format.Open(f, st.Size(), o)
	if err != nil {
		return nil, err
	}
	return fsys.(*volume), nil
}

func copyImage(t testing.TB, image string) string {
	t.Helper()
	to := filepath.Join(scratch(t), "copy")
	tool(t, "cp", "--sparse=always", image, to)
	return to
}

// resolve walks a path, for tests.
func resolve(v *volume, path string) (uint64, error) {
	ino := v.Root()
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		var err error
		if ino, err = v.Lookup(ino, name); err != nil {
			return 0, err
		}
	}
	return ino, nil
}

func content(t testing.TB, v *volume, path string) []byte {
	t.Helper()
	ino, err := resolve(v, path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	f, err := v.Open(ino)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	a, err := v.Stat(ino)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, a.Size))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return b
}

// pattern is content that no two blocks share.
func pattern(seed, n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d-%d;", seed, i)
	}
	return b.Bytes()[:n]
}
