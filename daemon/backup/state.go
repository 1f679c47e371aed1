package backup

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxState bounds a file of NVRAM, and all files of a TPM together, in bytes.
const maxState = 64 << 20

// readState reads a file that is not followed through a link and not waited for.
func readState(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxState {
		return nil, fmt.Errorf("%s is no file of at most %d MiB", path, maxState>>20)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err == nil && len(b) > maxState {
		err = fmt.Errorf("%s grew beyond %d MiB", path, maxState>>20)
	}
	return b, err
}

// packState makes one file of the files of a TPM's folder, with their names, modes and
// times. Only files of one owner are taken, where uid is not negative.
func packState(folder string, uid int64) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := packFolder(w, root, ".", uid, 0); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if out.Len() > maxState {
		return nil, fmt.Errorf("%s holds more than %d MiB", folder, maxState>>20)
	}
	return out.Bytes(), nil
}

const maxStateDepth = 4

func packFolder(w *tar.Writer, root *os.Root, dir string, uid int64, depth int) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	entries, err := d.ReadDir(-1)
	d.Close()
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir() && depth < maxStateDepth:
			err = packFolder(w, root, name, uid, depth+1)
		case e.Type().IsRegular() && e.Name() != ".lock":
			err = packFile(w, root, name, uid)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func packFile(w *tar.Writer, root *os.Root, name string, uid int64) error {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && uid >= 0 && int64(sys.Uid) != uid || !st.Mode().IsRegular() {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxState))
	if err != nil {
		return err
	}
	h := &tar.Header{Name: name, Mode: int64(st.Mode().Perm()), Size: int64(len(b)), ModTime: st.ModTime().Truncate(time.Second), Typeflag: tar.TypeReg}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}
