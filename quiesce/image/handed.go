package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Files opens an image and, where it is qcow2, its backing files, with the rights of this process, as the
// Files of a Spec with which another process reads them. Whoever called it closes them.
func Files(s Spec) ([]*os.File, error) {
	layers, err := openChain(s)
	if err != nil {
		return nil, err
	}
	files := make([]*os.File, len(layers))
	for i, l := range layers {
		files[i] = l.f
	}
	return files, nil
}

// openHanded makes the chain of an image of files that another process opened. No name is followed: of what a
// header names nothing is believed but that there is one more file, and its format.
func openHanded(s Spec) (layers []layer, err error) {
	defer func() {
		if err != nil {
			closeAll(layers)
		}
	}()
	f, err := handedFile(s.Files[0], s.Path)
	if err != nil {
		return nil, err
	}
	layers = append(layers, layer{f, s.Format})
	if s.Format == "" {
		layers[0].format = formatRaw
		if err := refuseDisguise(f, hintTop); err != nil {
			return layers, err
		}
	}
	for at := layers[0]; at.format == formatQcow2; at = layers[len(layers)-1] {
		h, err := readHeader(at.f)
		if err != nil {
			return layers, fmt.Errorf("image %s: %w", at.path, err)
		}
		if h.backing == "" {
			break
		}
		below, err := handedBacking(at, h, s.Files[len(layers):])
		if err != nil {
			return layers, err
		}
		layers = append(layers, below)
		if err := checkChain(layers); err != nil {
			return layers, err
		}
	}
	if n := len(s.Files) - len(layers); n > 0 {
		return layers, fmt.Errorf("image %s: %d open files came with it that it does not consist of", s.Path, n)
	}
	return layers, nil
}

// handedBacking is the backing file of an image: the first of the files that are left.
func handedBacking(above layer, h header, files []*os.File) (layer, error) {
	if err := checkBackingName(above.path, h); err != nil {
		return layer{}, err
	}
	path := strings.TrimPrefix(h.backing, "file:")
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(above.path), path)
	}
	if len(files) == 0 {
		return layer{}, fmt.Errorf("image %s: its backing file %s did not come with it, and is not opened by name", above.path, path)
	}
	f, err := handedFile(files[0], path)
	if err != nil {
		return layer{}, fmt.Errorf("backing file of %s: %w", above.path, err)
	}
	below := layer{f, h.backingFormat}
	if below.format == "" {
		below.format = formatRaw
		if err := refuseDisguise(f, hintBacking); err != nil {
			f.f.Close()
			return layer{}, err
		}
	}
	return below, nil
}

// handedFile takes an open file over, which stays open for who has it, when it is one that may be read and
// whose reading ends. It is never opened again before that is known: what this process may open, whoever opened
// the file may perhaps not.
func handedFile(handed *os.File, path string) (*file, error) {
	var st unix.Statx_t
	fd := -1
	err := control(handed, func(n int) error {
		if err := readable(n); err != nil {
			return err
		}
		// Of who serves the file, if that is a process, nothing is asked yet: it may never answer.
		err := unix.Statx(n, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st)
		if err != nil {
			return err
		}
		if kind := kindOf(uint32(st.Mode)); kind != "" {
			return fmt.Errorf("it is %s: give a file or a block device", kind)
		}
		return nil
	})
	block := st.Mode&unix.S_IFMT == unix.S_IFBLK
	if err == nil && !block {
		err = keepsImages(handed)
	}
	if err == nil {
		err = control(handed, func(n int) (err error) {
			fd, err = unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
			return err
		})
	}
	if err != nil {
		return nil, &fs.PathError{Op: "take over image", Path: path, Err: err}
	}
	f := &file{f: os.NewFile(uintptr(fd), path), path: path, real: path, block: block}
	if err := f.look(); err != nil {
		f.f.Close()
		return nil, err
	}
	return f, nil
}

// readable refuses a descriptor through which its owner may not read.
func readable(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	switch {
	case err != nil:
		return err
	case flags&unix.O_PATH != 0, flags&unix.O_ACCMODE == unix.O_WRONLY:
		return errors.New("it was not opened for reading")
	}
	return nil
}

// statPatience is how long a file system may take to say what it is.
const statPatience = 10 * time.Second

// keepsImages refuses files of file systems that are known for no images: of the kernel's own, whose files
// tell this process more than others, and of FUSE, where a process decides when a read ends.
func keepsImages(f *os.File) error {
	kind := make(chan int64, 1)
	failed := make(chan error, 1)
	go func() { // ends when the file system answers; who is served by a process waits for that process
		var st unix.Statfs_t
		if err := control(f, func(fd int) error { return unix.Fstatfs(fd, &st) }); err != nil {
			failed <- err
			return
		}
		kind <- int64(st.Type) & 0xffffffff
	}()
	select {
	case k := <-kind:
		if imageFileSystems[k] {
			return nil
		}
		if k == unix.FUSE_SUPER_MAGIC {
			return errors.New("it lies on a FUSE file system, whose process could keep the reader waiting: copy it to another, or have it read as root")
		}
		return fmt.Errorf("it lies on a file system (type %#x) that is not known to hold images: copy it to another, or have it read as root", k)
	case err := <-failed:
		return err
	case <-time.After(statPatience):
		return errors.New("its file system does not answer")
	}
}

// imageFileSystems are known to hold images, by the numbers of statfs(2) and of their sources.
var imageFileSystems = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.F2FS_SUPER_MAGIC: true, unix.NILFS_SUPER_MAGIC: true,
	unix.REISERFS_SUPER_MAGIC: true, unix.TMPFS_MAGIC: true, unix.RAMFS_MAGIC: true, unix.OVERLAYFS_SUPER_MAGIC: true,
	unix.NFS_SUPER_MAGIC: true, unix.CIFS_SUPER_MAGIC: true, unix.SMB2_SUPER_MAGIC: true, unix.CEPH_SUPER_MAGIC: true, unix.V9FS_MAGIC: true, unix.AFS_SUPER_MAGIC: true, unix.OCFS2_SUPER_MAGIC: true,
	unix.MSDOS_SUPER_MAGIC: true, unix.EXFAT_SUPER_MAGIC: true, unix.ISOFS_SUPER_MAGIC: true, unix.UDF_SUPER_MAGIC: true, unix.SQUASHFS_MAGIC: true, unix.EROFS_SUPER_MAGIC_V1: true,
	0x3153464a: true, // JFS
	0x2fc12fc1: true, // ZFS
	0xca451a4e: true, // bcachefs
	0x01161970: true, // GFS2
	0x0bd00bd0: true, // Lustre
	0x47504653: true, // GPFS
	0x7366746e: true, // ntfs3
}
