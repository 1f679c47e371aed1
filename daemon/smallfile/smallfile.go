// Package smallfile reads and replaces the small files in which the daemon keeps what it has to know after its
// end: whoever reads one finds the old or the new content whole, and nobody makes the reader hold more than it
// expects.
package smallfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// How a file is written.
type How int

// Kept until it is replaced again, or for good.
const (
	Lightly How = iota // after a loss of power it may be the old one, or empty
	Durably            // after a loss of power it is the one that Replace returned of
)

const begun = ".begun-"

// Begun tells whether a name in a folder is of a file that a process which was killed began to write.
func Begun(name string) bool { return strings.HasPrefix(name, begun) }

// Replace makes b the content of a file with that mode, whatever the umask.
func Replace(path string, b []byte, mode os.FileMode, how How) error {
	return Write(path, mode, how, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// Write is Replace with what write writes; when that fails the file stays as it is.
func Write(path string, mode os.FileMode, how How, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, begun)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err = write(f); err == nil {
		err = f.Chmod(mode)
	}
	if err == nil && how == Durably {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil || how != Durably {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Read returns the content of a regular file of at most so many bytes. A pipe is no such file, and is not waited for.
func Read(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadOpen(f, most)
}

// ReadOpen is Read of a file that is open.
func ReadOpen(f *os.File, most int64) ([]byte, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", f.Name())
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", f.Name(), most)
	}
	return b, err
}
