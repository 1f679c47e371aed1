package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// existsError is what a target that exists gets without Force; what says more of
// it, and may be empty.
func existsError(what string) error {
	if what != "" {
		what += ": "
	}
	return fmt.Errorf("%s%w; choose another name, or replace it with --force", what, fs.ErrExist)
}

// replace renames a file to a name that another may have, unless a machine runs
// from that one.
func replace(from, to string) error {
	if err := refuseRunning(to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// renameNew renames a file or folder to a name that nothing may have: fs.ErrExist
// when something has, also when it appeared just now.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return renameNewSlow(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// renameNewSlow is renameNew for file systems that cannot do it in one step, such
// as NFS.
func renameNewSlow(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		// Mkdir fails when the name is taken, and a folder replaces only an empty folder.
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
		return os.Rename(from, to)
	}
	err = os.Link(from, to)
	if err == nil {
		return os.Remove(from)
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	// No links either: an empty file of ours takes the name first.
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	if err := os.Rename(from, to); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: it has nothing to sync
		return err
	}
	return nil
}
