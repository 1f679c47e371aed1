package service

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/smallfile"
)

// Place of a daemon: the folder in which it says what it owns, and listens.
const (
	SocketName   = "api.sock"
	announceName = "vaults.json"
)

// Announced is a vault that a daemon owns, and by what a command tells that it is the one it was
// given: by device and inode, which a copy does not share.
type Announced struct {
	ID   blockstore.VaultID `json:"id"`
	Name string             `json:"name"`
	Path string             `json:"path"`

	Dev       uint64 `json:"dev"` // of the newest file of VAULT
	Ino       uint64 `json:"ino"`
	FolderDev uint64 `json:"folder_dev"` // of the vault's folder
	FolderIno uint64 `json:"folder_ino"`
}

// Announcement returns what is announced of a vault that is open.
func Announcement(v blockstore.VaultInfo) (Announced, error) {
	a := Announced{ID: v.ID, Name: v.Name, Path: v.Path}
	var err error
	if a.FolderDev, a.FolderIno, err = fileID(v.Path); err != nil {
		return a, err
	}
	newest, err := newestVault(v.Path)
	if err == nil {
		a.Dev, a.Ino, err = fileID(newest)
	}
	return a, err
}

// Announce writes what a daemon owns into its folder, in place of what was there, so that everybody can read it.
func Announce(dir string, list []Announced) error {
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	if err := smallfile.Replace(filepath.Join(dir, announceName), append(b, '\n'), 0o644, smallfile.Lightly); err != nil {
		return fmt.Errorf("announce the vaults: %w", err)
	}
	return nil
}

const maxAnnounced = 1 << 20 // bytes

// FindAnnounced tells whether the vault at a path is one that the daemon of a folder owns. Where nothing is
// announced, or the vault cannot be looked at, it is not; one that this user cannot even reach goes by its path.
func FindAnnounced(dir, path string) (a Announced, ok bool) {
	list, _, err := readAnnounced(dir)
	if err != nil {
		return a, false
	}
	dev, ino, err := fileID(path)
	if errors.Is(err, fs.ErrPermission) { // a folder above it is closed: nothing but its path can be told
		return announcedAt(list, path)
	}
	if err != nil {
		return a, false
	}
	newest, err := newestVault(path)
	for _, a := range list {
		if errors.Is(err, fs.ErrPermission) { // only the folder can be told
			if a.FolderDev == dev && a.FolderIno == ino {
				return a, true
			}
			continue
		}
		if err != nil {
			return a, false
		}
		vdev, vino, e := fileID(newest)
		if e == nil && vdev == a.Dev && vino == a.Ino && namesVault(newest, a.ID) {
			return a, true
		}
	}
	return a, false
}

// Owned returns the vaults of the daemon that runs in a folder. None where none runs, and none that somebody
// else than root and this user announced.
func Owned(dir string) []Announced {
	if !Alive(dir) {
		return nil
	}
	list, by, err := readAnnounced(dir)
	if err != nil || by != 0 && int(by) != os.Geteuid() {
		return nil
	}
	return list
}

// readAnnounced returns what is announced in a folder, and by whom.
func readAnnounced(dir string) (list []Announced, by uint32, err error) {
	f, err := os.Open(filepath.Join(dir, announceName))
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	err = json.NewDecoder(io.LimitReader(f, maxAnnounced)).Decode(&list)
	return list, st.Sys().(*syscall.Stat_t).Uid, err
}

// announcedAt finds a vault by the path at which its daemon has it.
func announcedAt(list []Announced, path string) (Announced, bool) {
	abs, err := filepath.Abs(path)
	for _, a := range list {
		if err == nil && filepath.Clean(a.Path) == abs {
			return a, true
		}
	}
	return Announced{}, false
}

// newestVault is the file of VAULT of the highest generation.
func newestVault(path string) (string, error) {
	folder := filepath.Join(path, "VAULT")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", err
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") })
	if len(entries) == 0 {
		return "", fmt.Errorf("%s: %w", folder, fs.ErrNotExist)
	}
	return filepath.Join(folder, entries[len(entries)-1].Name()), nil // generations are of one length, names in order
}

// namesVault tells whether a file of VAULT is of the vault with an id; where it cannot be read, device and
// inode have to do.
func namesVault(file string, id blockstore.VaultID) bool {
	f, err := os.Open(file)
	if err != nil {
		return errors.Is(err, fs.ErrPermission)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	raw, e := hex.DecodeString(string(id))
	return err == nil && e == nil && len(raw) > 0 && (bytes.Contains(b, raw) || bytes.Contains(b, []byte(id)))
}

func fileID(path string) (dev, ino uint64, err error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return 0, 0, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Dev, st.Ino, nil
}
