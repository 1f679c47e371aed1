package fusefs

import (
	"iter"
	"strings"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	gtree "github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// guestDir is an open folder of a guest. Entries are read as the kernel asks for them; an
// entry's offset is its number, from 1, "." and ".." being the first two. The entries of
// the last answer are kept, since the kernel may come back to one of them.
type guestDir struct {
	node *guestNode

	mu   sync.Mutex // guards what follows; held while entries are read
	pull func() (gtree.Entry, error, bool)
	stop func()
	read uint64        // entries that were pulled, "." and ".." among them
	last []gtree.Entry // the latest of them, the last one being number read
}

// keptEntries is how many are kept behind: more than one answer holds.
const keptEntries = 8192

func (r *guestTree) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if !isGuest(in.NodeId) {
		return r.RawFileSystem.OpenDir(cancel, in, out)
	}
	n, errno := r.node(in.NodeId)
	if errno != 0 {
		return fuse.Status(errno)
	}
	out.Fh = r.handle(&guestDir{node: n})
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR
	return fuse.OK
}

func (r *guestTree) ReleaseDir(in *fuse.ReleaseIn) {
	if !isGuest(in.NodeId) {
		r.RawFileSystem.ReleaseDir(in)
		return
	}
	if d, ok := r.release(in.Fh).(*guestDir); ok {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.reset()
	}
}

func (r *guestTree) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if !isGuest(in.NodeId) {
		return r.RawFileSystem.ReadDir(cancel, in, out)
	}
	d, ok := r.opened(in.Fh).(*guestDir)
	if !ok {
		return fuse.EBADF
	}
	return d.fill(in.Offset, func(e fuse.DirEntry, _ uint64) bool { return out.AddDirEntry(e) })
}

// ReadDirPlus gives the attributes beside the names. Where they cannot be had, the kernel
// asks for them, and gets the error then.
func (r *guestTree) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if !isGuest(in.NodeId) {
		return r.RawFileSystem.ReadDirPlus(cancel, in, out)
	}
	d, ok := r.opened(in.Fh).(*guestDir)
	if !ok {
		return fuse.EBADF
	}
	return d.fill(in.Offset, func(e fuse.DirEntry, ino uint64) bool {
		entry := out.AddDirLookupEntry(e)
		if entry == nil || e.Name == "." || e.Name == ".." {
			return entry != nil
		}
		other, err := d.node.crossed(e.Name)
		if other != nil {
			err = other.entry(other.ino, entry)
		} else if err == nil {
			err = d.node.found(e.Name, ino, entry)
		}
		if err != nil {
			*entry = fuse.EntryOut{}
		} else {
			out.FixMode(entry.Mode)
		}
		return true
	})
}

// fill adds entries from offset on until add has no room.
func (d *guestDir) fill(offset uint64, add func(fuse.DirEntry, uint64) bool) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	for first := true; ; first = false {
		e, ok, err := d.entry(offset)
		if err != nil && first {
			return fuse.Status(d.node.errno(err))
		}
		if err != nil || !ok {
			return fuse.OK // an error comes again, first then
		}
		offset++
		out := fuse.DirEntry{Name: e.Name, Mode: e.Type, Ino: d.node.s.inoOf(e.Ino), Off: offset}
		if !showable(e.Name) {
			continue
		}
		if !add(out, e.Ino) {
			return fuse.OK
		}
	}
}

// showable tells whether the kernel takes a name. Readers promise so; one that does not
// keep it must not end the listing.
func showable(name string) bool {
	return name != "" && len(name) <= 1024 && !strings.ContainsAny(name, "/\x00")
}

// entry returns the entry behind that many others; false behind the last.
func (d *guestDir) entry(offset uint64) (gtree.Entry, bool, error) {
	switch offset {
	case 0:
		return gtree.Entry{Name: ".", Ino: d.node.ino, Type: unix.S_IFDIR}, true, nil
	case 1:
		return gtree.Entry{Name: "..", Ino: d.node.ino, Type: unix.S_IFDIR}, true, nil
	}
	if d.pull == nil || offset+uint64(len(d.last)) < d.read {
		d.reset()
		d.pull, d.stop = iter.Pull2(d.node.fsys.ReadDir(d.node.ino))
		d.read = 2
	}
	for offset >= d.read {
		e, err, ok := d.pull()
		if !ok {
			return e, false, nil
		}
		if err != nil && e.Name == "" {
			d.reset()
			return e, false, err
		}
		if d.read++; len(d.last) >= 2*keptEntries {
			d.last = append(d.last[:0], d.last[keptEntries:]...)
		}
		d.last = append(d.last, e)
	}
	return d.last[uint64(len(d.last))-(d.read-offset)], true, nil
}

func (d *guestDir) reset() {
	if d.stop != nil {
		d.stop()
	}
	d.pull, d.stop, d.read, d.last = nil, nil, 0, nil
}
