package blockstore

import (
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
)

// Place is where a vault lay when its owner wrote OWNER. A copy made file by
// file carries the place of its original.
type Place struct {
	Path  string `json:"path"` // of the vault's folder, absolute, without symbolic links
	Inode uint64 `json:"inode"`
	Born  int64  `json:"born,omitempty"` // when the folder was made, in nanoseconds since 1970; 0: its file system does not tell
}

// locate finds out where a folder lies. Its fields are zero where that cannot
// be told.
func locate(dir string) Place {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Place{}
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	p := Place{Path: abs}
	p.Inode, p.Born = backend.Identity(abs)
	return p
}

// sameFolder tells whether p and q are one folder, whatever its path is now.
func (p Place) sameFolder(q Place) bool {
	return p.Inode != 0 && p.Inode == q.Inode && p.Born == q.Born
}

// origin is what became of the place that OWNER names.
type origin int

const (
	inPlace  origin = iota // it is here, by this path or another
	moved                  // the vault is here and no more there
	original               // the vault is still there: here is a copy
)

// lookPatience bounds the look at another place, which may lie on a file system
// that hangs.
const lookPatience = 5 * time.Second

// originOf compares where the vault is with where its last owner had it.
func (v *Vault) originOf(last, here Place) origin {
	if last.Path == "" || here.Path == "" || last.Path == here.Path {
		return inPlace
	}
	answer := make(chan origin, 1)
	go func() { answer <- v.lookAt(last, here) }() // ends when that file system answers
	select {
	case o := <-answer:
		return o
	case <-time.After(lookPatience):
		return moved // not to be seen
	}
}

func (v *Vault) lookAt(last, here Place) origin {
	there := &Vault{dir: backend.NewDir(last.Path), warn: func(string) {}}
	if there.readVault() != nil || there.head.ID != v.head.ID {
		return moved
	}
	if sameFile(last.Path, here.Path) {
		return inPlace
	}
	now := locate(last.Path)
	if here.sameFolder(last) && !now.sameFolder(last) {
		return moved // and the copy is there
	}
	return original
}

// sameFile tells whether two paths lead to one folder, through a bind mount for
// example.
func sameFile(a, b string) bool {
	var p, q unix.Stat_t
	return unix.Stat(a, &p) == nil && unix.Stat(b, &q) == nil && p.Dev == q.Dev && p.Ino == q.Ino
}
