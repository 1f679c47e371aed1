package restore

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	maxStateFiles = 1000
	maxState      = 64 << 20 // bytes of all files together
)

// unpackState puts the files of a tar archive into a new folder, in one step. Only plain files
// are taken, and names that stay within it.
func unpackState(data []byte, folder string, force bool) (err error) {
	if len(data) > maxState {
		return fmt.Errorf("%d bytes of state, at most %d are taken", len(data), maxState)
	}
	entries, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case len(entries) > 0 && !force:
		return existsError("there is state already")
	}
	parent := filepath.Dir(folder)
	if err := os.MkdirAll(parent, 0o711); err != nil {
		return err
	}
	stage, err := os.MkdirTemp(parent, hiddenName(filepath.Base(folder), ""))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(stage))
		}
	}()
	root, err := os.OpenRoot(stage)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := unpack(tar.NewReader(bytes.NewReader(data)), root); err != nil {
		return err
	}
	if len(entries) > 0 || force {
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
	} else if err := os.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(stage, folder); err != nil {
		return err
	}
	return syncFolder(parent)
}

func unpack(r *tar.Reader, root *os.Root) error {
	var total int64
	for files := 0; ; files++ {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if total += h.Size; files >= maxStateFiles || h.Size < 0 || total > maxState {
			return errors.New("too many or too large files of state")
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("the name %.64q leads out of the folder", h.Name)
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(h.Name, 0o700)
		case tar.TypeReg:
			err = unpackFile(r, root, h)
		default:
			err = fmt.Errorf("%.64q is neither a file nor a folder", h.Name)
		}
		if err != nil {
			return err
		}
	}
}

func unpackFile(r io.Reader, root *os.Root, h *tar.Header) error {
	if folder := filepath.Dir(h.Name); folder != "." {
		if err := root.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	f, err := root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.LimitReader(r, h.Size))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
