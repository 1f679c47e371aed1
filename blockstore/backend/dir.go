package backend

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// tempPrefix begins the names of files that are not visible yet.
const tempPrefix = ".tmp-"

// Dir keeps the files of a vault in a folder. It is safe for concurrent use.
type Dir struct {
	// Ops are the calls that a disk lets fail. A test that wants them to
	// replaces them before files are written; they are given the name that
	// the file will have, or that of a folder.
	Ops struct {
		WriteAt func(f *os.File, name string, p []byte, off int64) (int, error)
		Sync    func(f *os.File, name string) error
	}

	root    string
	watch   watch
	glances glances

	mu   sync.Mutex
	made map[string]bool // folders known to exist durably, by name
}

// NewDir returns the backend of a folder, which is not touched yet.
func NewDir(root string) *Dir {
	d := &Dir{root: filepath.Clean(root), made: map[string]bool{}, watch: watch{hung: make(chan struct{})}}
	d.glances = glances{local: sync.OnceValue(d.Local), of: map[string]glance{}, clock: time.Now}
	d.Ops.WriteAt = func(f *os.File, _ string, p []byte, off int64) (int, error) { return f.WriteAt(p, off) }
	d.Ops.Sync = func(f *os.File, _ string) error { return f.Sync() }
	return d
}

// Root is the folder's path.
func (d *Dir) Root() string { return d.root }

// Path is where the file of that name lies.
func (d *Dir) Path(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

// ErrNotFile reports a pipe, a device or a folder where a file belongs.
var ErrNotFile = errors.New("it is no file")

// Open opens a file for reading.
func (d *Dir) Open(name string) (*os.File, error) {
	defer d.Call("open", name)()
	f, err := os.OpenFile(d.Path(name), os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe must not hold us up
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: d.Path(name), Err: cmp.Or(err, ErrNotFile)}
	}
	return f, nil
}

// ReadFile returns a file's content, and an error for one larger than max
// bytes. A vault has a hundred thousand small files: each is read by four calls
// of the system, which is half of what an [os.File] takes.
func (d *Dir) ReadFile(name string, max int64) ([]byte, error) {
	at := d.Path(name)
	fd, err := d.openSmall(name, at)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: at, Err: err}
	}
	defer unix.Close(fd)
	defer d.Call("read", name)()
	var st unix.Stat_t
	if err := uninterrupted(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: at, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, &fs.PathError{Op: "read", Path: at, Err: ErrNotFile}
	}
	// A byte more than there is: all of it but that byte is the whole file.
	b := make([]byte, min(max, st.Size)+1)
	for n := 0; ; {
		if n == len(b) { // a file system that does not tell sizes
			b = append(b, make([]byte, 4096)...)
		}
		var got int
		err := uninterrupted(func() (err error) { got, err = unix.Read(fd, b[n:]); return err })
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: at, Err: err}
		}
		n += got
		if int64(n) > max {
			return nil, fmt.Errorf("read %s: larger than the %d bytes that such a file can have", at, max)
		}
		if got == 0 || st.Size > 0 && int64(n) == st.Size {
			return b[:n], nil
		}
	}
}

func (d *Dir) openSmall(name, at string) (fd int, err error) {
	defer d.Call("open", name)()
	err = uninterrupted(func() (err error) {
		fd, err = unix.Open(at, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		return err
	})
	return fd, err
}

// uninterrupted makes a call until no signal interrupts it.
func uninterrupted(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// List returns the names in a folder, sorted, without the temporary ones. A
// folder that is not there is empty.
func (d *Dir) List(name string) ([]string, error) {
	defer d.Call("list", name)()
	entries, err := os.ReadDir(d.Path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Size returns a file's size in bytes.
func (d *Dir) Size(name string) (int64, error) {
	defer d.Call("stat", name)()
	st, err := os.Stat(d.Path(name))
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// Write makes a new file durable, whole or not at all. An existing one is
// fs.ErrExist.
func (d *Dir) Write(name string, data []byte) error {
	f, err := d.Create(name)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	return f.Commit()
}

// Remove removes files and makes that durable, with one sync of each folder.
// What is not there is no error.
func (d *Dir) Remove(names ...string) error {
	if err := d.HangError(); err != nil {
		return err
	}
	changed := map[string]bool{}
	for _, name := range names {
		done := d.Call("remove", name)
		err := os.Remove(d.Path(name))
		done()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil {
			changed[path.Dir(name)] = true
		}
	}
	for folder := range changed {
		if err := d.syncDir(folder); err != nil {
			return err
		}
	}
	return nil
}

// Discard removes files of which nobody minds that a power loss brings them back.
// What is not there is no error.
func (d *Dir) Discard(names ...string) error {
	if err := d.HangError(); err != nil {
		return err
	}
	for _, name := range names {
		done := d.Call("remove", name)
		err := os.Remove(d.Path(name))
		done()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// RemoveDir removes an empty folder. One that is not empty, or not there, is no
// error.
func (d *Dir) RemoveDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := os.Remove(d.Path(name))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return nil
	}
	delete(d.made, name)
	return err
}

// RemoveTemps removes what writers that died left in a folder. Only the owner
// may call it.
func (d *Dir) RemoveTemps(name string) error {
	entries, err := os.ReadDir(d.Path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if err := os.Remove(d.Path(path.Join(name, e.Name()))); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// MakeDir makes a folder and those above it, durably, with mode 0700.
func (d *Dir) MakeDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.makeDir(name)
}

func (d *Dir) makeDir(name string) error {
	if name == "." || d.made[name] {
		return nil
	}
	if err := d.makeDir(path.Dir(name)); err != nil {
		return err
	}
	done := d.Call("make folder", name)
	err := os.Mkdir(d.Path(name), 0o700)
	if err == nil {
		err = os.Chmod(d.Path(name), 0o700)
	}
	done()
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return full(err)
	}
	if err := d.syncDir(path.Dir(name)); err != nil {
		return err
	}
	d.made[name] = true
	return nil
}

func (d *Dir) syncDir(name string) error {
	f, err := os.Open(d.Path(name))
	if err != nil {
		return err
	}
	defer f.Close()
	defer d.Call("sync folder", name)()
	if err := d.Ops.Sync(f, name); err != nil && !errors.Is(err, unix.EINVAL) {
		return full(fmt.Errorf("sync folder %s: %w", d.Path(name), err))
	}
	return nil
}

// SyncAll writes back everything of the file system that holds the folder, so
// that what is read afterwards is what a power loss would leave.
func (d *Dir) SyncAll() error {
	f, err := os.Open(d.root)
	if err != nil {
		return err
	}
	defer f.Close()
	// It writes back what other programs wrote, too.
	defer d.call("sync", "file system", 10*d.watch.limit)()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", d.root, err)
	}
	return nil
}
