package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/quiesce/nbd"
)

// checkJobs refuses what cannot be or must not be, before anything is touched.
func checkJobs(tasks []*task, o Options) error {
	if len(tasks) == 0 {
		return errors.New("no disk to restore is named")
	}
	if o.Mode&^os.ModePerm != 0 {
		return fmt.Errorf("mode %v of restored files: only permissions can be given", o.Mode)
	}
	seen := make(map[string]string) // target -> disk
	for _, t := range tasks {
		if t.job.Disk == nil {
			return errors.New("a job without a disk")
		}
		disk, spec := t.job.Disk.Info().Name, t.job.Target
		key, err := checkTarget(spec, o)
		if err != nil {
			return fmt.Errorf("restore disk %s to %s: %w", disk, spec.name(), err)
		}
		if other, twice := seen[key]; twice {
			return fmt.Errorf("disks %s and %s both go to %s: give each a target of its own", other, disk, spec.name())
		}
		seen[key] = disk
	}
	return nil
}

// checkTarget checks one target and returns what tells it from others.
func checkTarget(s Spec, o Options) (key string, err error) {
	switch s.Kind {
	case Stream:
		if s.Writer == nil {
			return "", errors.New("no writer is given")
		}
		return "stream", nil
	case Device:
		var st unix.Stat_t
		if err := unix.Stat(s.Path, &st); err != nil {
			return "", &os.PathError{Op: "look at", Path: s.Path, Err: err}
		}
		return "device " + number(st.Rdev), nil
	case NBD:
		address, err := nbd.ParseURI(s.Path)
		return "export " + address.String(), err
	case Raw, Qcow2:
	default:
		return "", fmt.Errorf("targets of %s are not known", s.Kind)
	}
	if base := filepath.Base(s.Path); s.Path == "" || strings.HasSuffix(s.Path, "/") || base == "." || base == ".." {
		return "", fmt.Errorf("%q does not name a file", s.Path)
	}
	if err := checkFinal(s.Path, o.Force); err != nil {
		return "", err
	}
	folder := filepath.Dir(s.Path)
	if err := checkHome(folder); err != nil {
		return "", err
	}
	if err := refuseVaultFolder(folder, o.VaultPath); err != nil {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Stat(folder, &st); err != nil {
		return "", &os.PathError{Op: "look at folder", Path: folder, Err: err}
	}
	return fmt.Sprintf("file %d %d %s", st.Dev, st.Ino, filepath.Base(s.Path)), nil
}

// checkFinal looks at what has the final name of a file now. The rename asks
// again, in its own way.
func checkFinal(path string, force bool) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	link := info.Mode()&fs.ModeSymlink != 0
	if link {
		if behind, err := os.Stat(path); err == nil && isBlock(behind) {
			info = behind
		}
	}
	switch {
	case isBlock(info):
		return errors.New("this is a block device: say --device to overwrite what is on it")
	case info.IsDir():
		return fmt.Errorf("this is a folder: %w; name a file in it", fs.ErrExist)
	case link && !force:
		return existsError("this is a symbolic link")
	case link:
		return nil // the link is replaced, whatever is behind it
	case !info.Mode().IsRegular():
		return fmt.Errorf("this is not a file (%s): %w; choose another name", info.Mode().Type(), fs.ErrExist)
	case !force:
		return existsError("")
	}
	return refuseRunning(path)
}

func isBlock(info fs.FileInfo) bool {
	return info.Mode()&fs.ModeDevice != 0 && info.Mode()&fs.ModeCharDevice == 0
}

// refuseVaultFolder refuses a folder inside the vault: only vaults' own files
// belong there.
func refuseVaultFolder(folder, vault string) error {
	if vault == "" {
		return nil
	}
	v, err := resolved(vault)
	if err != nil {
		return fmt.Errorf("look where the vault lies: %w", err)
	}
	f, err := resolved(folder)
	if err != nil {
		return fmt.Errorf("look at folder: %w", err)
	}
	if f == v || strings.HasPrefix(f, v+"/") {
		return fmt.Errorf("%s lies inside the vault %s: choose a place outside", folder, vault)
	}
	return nil
}

func resolved(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}
