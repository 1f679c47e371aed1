package fusefs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// fsType is what the kernel and df call our mounts.
const (
	subtype = "holdfast"
	fsType  = "fuse." + subtype
)

// prepare makes sure that a vault can be mounted at mountpoint and returns its
// path without links. A stale mount of ours there, left by a process that was
// killed, is taken away.
func prepare(ctx context.Context, mountpoint, vault string) (string, error) {
	path, err := resolve(mountpoint)
	if err != nil {
		return "", fmt.Errorf("mountpoint %s: %w", mountpoint, err)
	}
	if err := clearStale(ctx, path); err != nil {
		return "", fmt.Errorf("mountpoint %s: %w", mountpoint, err)
	}
	if err := emptyFolder(path); err != nil {
		return "", fmt.Errorf("mountpoint %s: %w", mountpoint, err)
	}
	if vault == "" {
		return path, nil
	}
	if real, err := filepath.EvalSymlinks(vault); err == nil {
		vault = real
	}
	if vault, err = filepath.Abs(vault); err == nil && within(path, vault) {
		return "", fmt.Errorf("mountpoint %s lies inside the vault %s: choose a folder outside it", mountpoint, vault)
	}
	return path, nil
}

// resolve returns the absolute path without links. The last element is not
// looked into when it is a dead mount, which answers nothing but ENOTCONN.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, syscall.ENOTCONN) {
		return real, pathless(err)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), pathless(err)
}

// clearStale detaches dead mounts of ours from path and refuses live ones and
// those of others.
func clearStale(ctx context.Context, path string) error {
	at, err := mountsAt(path)
	if err != nil {
		return err
	}
	for i := len(at) - 1; i >= 0; i-- { // topmost first
		m := at[i]
		if m.kind != fsType || !stale(path) {
			return fmt.Errorf("%s (%s) is mounted there already: unmount it first (fusermount3 -u %s) or choose another folder",
				m.source, m.kind, path)
		}
		if err := detach(ctx, path, true); err != nil {
			return fmt.Errorf("take away what a killed mount left there (fusermount3 -uz %s does it by hand): %w", path, err)
		}
	}
	return nil
}

// stale tells whether the process that served the mount at path is gone.
func stale(path string) bool {
	var st syscall.Stat_t
	return errors.Is(syscall.Stat(path, &st), syscall.ENOTCONN)
}

func emptyFolder(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return pathless(err)
	}
	if !info.IsDir() {
		return errors.New("is not a folder")
	}
	f, err := os.Open(path)
	if err != nil {
		return pathless(err)
	}
	defer f.Close()
	names, err := f.Readdirnames(1)
	if len(names) > 0 {
		return fmt.Errorf("is not empty (%q is in it): a mount would hide what is there", names[0])
	}
	if err != io.EOF {
		return pathless(err)
	}
	return nil
}

// within tells whether path is dir or lies in it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// pathless takes the path out of an error that is going to be wrapped with it.
func pathless(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		if errors.Is(err, os.ErrNotExist) {
			return errors.New("there is no such folder: create it first")
		}
		return p.Err
	}
	return err
}
