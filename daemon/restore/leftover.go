package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// What a restore writes lies under a hidden name and is locked (flock) as long as
// the restore lives. One that nobody locks was left by a kill, and the next
// restore to the same name takes it away.

// hiddenName is the hidden name of what will be called name.
func hiddenName(name, random string) string {
	return fmt.Sprintf(".%.200s.holdfast-%s", name, random)
}

// sweepLeftovers removes what killed restores to path left beside it, and
// says what. What cannot be removed, or locked to know, stays.
func sweepLeftovers(path string) (notes []string) {
	folder, name := filepath.Split(filepath.Clean(path))
	if folder == "" {
		folder = "."
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil // whoever writes there will say why
	}
	ours := regexp.MustCompile("^" + regexp.QuoteMeta(hiddenName(name, "")) + "([0-9a-f]{12}|[0-9]{1,20})$")
	for _, e := range entries {
		if !ours.MatchString(e.Name()) || !e.IsDir() && !e.Type().IsRegular() {
			continue
		}
		at := filepath.Join(folder, e.Name())
		if err := removeLeftover(at, e.IsDir()); err == nil {
			notes = append(notes, fmt.Sprintf("%s, left by a restore that was killed, was removed", at))
		}
	}
	return notes
}

func removeLeftover(path string, folder bool) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	if folder {
		return os.RemoveAll(path)
	}
	if err := refuseRunning(path); err != nil { // somebody found a use for it
		return err
	}
	return os.Remove(path)
}

// claim locks what was just made under a hidden name. It is fs.ErrNotExist when
// another restore took it for a leftover before that.
func claim(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX) // waits only while another one looks at it
	for errors.Is(err, unix.EINTR) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return nil // a file system without locks: nobody can lock it to remove it either
	}
	now, err := os.Lstat(f.Name())
	if err != nil {
		return err
	}
	made, err := f.Stat()
	if err == nil && !os.SameFile(now, made) {
		err = fs.ErrNotExist
	}
	return err
}

// claimFolder is claim for a folder; closing what it returns gives it up.
func claimFolder(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := claim(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
