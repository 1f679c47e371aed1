package guest

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

//go:embed build
var script []byte

//go:embed writer/main.go
var writer []byte

//go:embed journal/journal.go
var records []byte

// Files are what a guest is started from. None of them may be written to.
type Files struct {
	Kernel, Initrd string
	Root           string // raw image of the root file system, 2 GiB, sparse
}

var built = sync.OnceValues(func() (Files, error) { return find() })

// Find is Get for programs that are no tests.
func Find() (Files, error) { return built() }

// Get returns the guest's files and builds them when they are not there yet.
func Get(t testing.TB) Files {
	t.Helper()
	f, err := built()
	if err != nil {
		needs.Missing(t, "%v", err)
	}
	return f
}

func find() (Files, error) {
	dir := os.Getenv("HOLDFAST_GUEST")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return Files{}, err
		}
		sum := sha256.New()
		for _, b := range [][]byte{script, writer, records} {
			sum.Write(b)
		}
		dir = filepath.Join(cache, "holdfast", "guest-"+hex.EncodeToString(sum.Sum(nil))[:12])
		if err := build(dir); err != nil {
			return Files{}, fmt.Errorf("build the test guest: %w", err)
		}
	}
	f := Files{filepath.Join(dir, "kernel"), filepath.Join(dir, "initrd"), filepath.Join(dir, "root.raw")}
	for _, p := range []string{f.Kernel, f.Initrd, f.Root} {
		if _, err := os.Stat(p); err != nil {
			return Files{}, fmt.Errorf("test guest: %w", err)
		}
	}
	return f, nil
}

// build makes the guest's files unless another process has done so.
func build(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	lock, err := os.Create(dir + ".lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if os.Getuid() != 0 {
		return errors.New("only root can build it: run the tests once as root, or name its folder in HOLDFAST_GUEST")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	temp, err := os.MkdirTemp("", "guest")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	program := filepath.Join(temp, "writer")
	if out, err := goBuild(ctx, program).CombinedOutput(); err != nil {
		return fmt.Errorf("its writer: %w: %s", err, out)
	}
	path := filepath.Join(temp, "build")
	if err := os.WriteFile(path, script, 0o755); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "bash", path, dir, program).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out[max(0, len(out)-2000):])
	}
	return nil
}

func goBuild(ctx context.Context, out string) *exec.Cmd {
	_, here, _, _ := runtime.Caller(0)
	c := exec.CommandContext(ctx, "go", "build", "-o", out, "./writer")
	c.Dir = filepath.Dir(here)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	return c
}
