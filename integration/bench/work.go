package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// memoryNeeded is what the image, its changes, two stores, a restored copy and what
// the kernel keeps of it take of memory, in bytes per byte of the disk's content.
const memoryNeeded = 5

const tmpfsMagic = 0x01021994

// chooseWork takes tmpfs when it is large enough, and says so when it is not.
func (b *bench) chooseWork() (err error) {
	if b.work == "" {
		b.madeWork = true
		folder := "/dev/shm"
		if free := freeBytes(folder); free < b.size*memoryNeeded {
			b.say("%s has %s free and %s are needed: working on disk, wall times will be those of the disk",
				folder, mib(free), mib(b.size*memoryNeeded))
			folder = os.TempDir()
		}
		b.work, err = os.MkdirTemp(folder, "holdfast-bench-")
	} else {
		b.work, err = filepath.Abs(b.work)
		err = errors.Join(err, os.MkdirAll(b.work, 0o700))
	}
	if err != nil {
		return fmt.Errorf("work folder: %w", err)
	}
	b.tmpfs = onTmpfs(b.work)
	return nil
}

// close removes all but what --keep leaves.
func (b *bench) close() error {
	if b.keep {
		return errors.Join(b.showDay(1), os.RemoveAll(b.store))
	}
	if b.madeWork {
		return os.RemoveAll(b.work)
	}
	err := os.RemoveAll(b.store)
	for _, name := range []string{b.image, b.image + ".json", b.image + ".offsets", b.image + ".day1", b.image + ".day2"} {
		if e := os.Remove(name); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// touch writes bytes into the store's folder and frees them, so that the next
// program finds memory there that was used before. On a disk it does nothing.
func (b *bench) touch(bytes int64) error {
	if !b.tmpfs {
		return nil
	}
	f, err := os.CreateTemp(b.store, "touch-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	for buf := make([]byte, 4<<20); bytes > 0; bytes -= int64(len(buf)) {
		if _, err := f.Write(buf); err != nil {
			return fmt.Errorf("touch memory: %w", err)
		}
	}
	return nil
}

func freeBytes(folder string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(folder, &s) != nil {
		return 0
	}
	return int64(s.Bavail) * s.Bsize
}

func onTmpfs(folder string) bool {
	var s syscall.Statfs_t
	return syscall.Statfs(folder, &s) == nil && s.Type == tmpfsMagic
}

// treeSize adds up the files of a folder, in bytes, without those below the names left out.
func treeSize(folder string, without ...string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(folder, path)
		for _, name := range without {
			if rel == name && d.IsDir() {
				return fs.SkipDir
			}
			if rel == name {
				return nil
			}
		}
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

// copyTree copies a folder for going back to it: files below a folder of
// immutable ones are linked, everything else is copied.
func copyTree(from, to string, immutable ...string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case !d.Type().IsRegular():
			return nil // sockets and locks of programs that have ended
		}
		for _, prefix := range immutable {
			if strings.HasPrefix(rel, prefix+string(filepath.Separator)) {
				return os.Link(path, target)
			}
		}
		return copyFile(path, target)
	})
}
