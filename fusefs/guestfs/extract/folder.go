package extract

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// folder is an open folder of the target. Names are made in it by its descriptor, one
// component at a time and without following a link.
type folder struct {
	root *os.Root
	file *os.File // the folder itself
	path string   // from the target's top
}

func newFolder(root *os.Root, path string) (*folder, error) {
	f, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	return &folder{root, f, path}, nil
}

func (d *folder) close() {
	d.file.Close()
	d.root.Close()
}

func (d *folder) fd() int { return int(d.file.Fd()) }

// enter opens the folder of that name, and makes it where there is none. A link to one is
// not entered.
func (d *folder) enter(name string, perm os.FileMode) (sub *folder, made bool, err error) {
	if name == "." {
		root, err := d.root.OpenRoot(".")
		if err != nil {
			return nil, false, err
		}
		sub, err = newFolder(root, d.path)
		return sub, false, err
	}
	switch err := d.root.Mkdir(name, perm); {
	case err == nil:
		made = true
	case !errors.Is(err, fs.ErrExist):
		return nil, false, err
	default:
		info, err := d.root.Lstat(name)
		if err != nil {
			return nil, false, err
		}
		if !info.IsDir() {
			return nil, false, errors.New("there is something of that name already that is no folder")
		}
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, made, err
	}
	sub, err = newFolder(root, filepath.Join(d.path, name))
	return sub, made, err
}

// clear makes room for a name: what is there is removed if that was allowed, and is no
// folder.
func (d *folder) clear(name string, replace bool) error {
	info, err := d.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("there is a folder of that name already")
	case !replace:
		return fmt.Errorf("it is there already (--force replaces it): %w", errKept)
	}
	return unix.Unlinkat(d.fd(), name, 0)
}

var errKept = errors.New("what is there was kept")
