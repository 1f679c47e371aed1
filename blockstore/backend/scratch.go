package backend

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Scratch returns a file without a name in the folder's file system, whose
// space is free again when it is closed or the process ends.
func (d *Dir) Scratch() (*os.File, error) {
	defer d.Call("create", "a scratch file")()
	fd, err := unix.Open(d.root, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), filepath.Join(d.root, "scratch")), nil
	}
	// The file system knows no files without a name. What a process that ends
	// right here leaves is removed by RemoveTemps.
	var salt [8]byte
	rand.Read(salt[:]) // never fails
	name := filepath.Join(d.root, tempPrefix+hex.EncodeToString(salt[:]))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, full(err)
	}
	if err := os.Remove(name); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
