package fusefs

import (
	"errors"
	"io"
	"iter"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	gtree "github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// guestFile is an open file of a guest.
type guestFile struct {
	node *guestNode
	file gtree.File
	size int64
	seek extentSeeker
}

func (r *guestTree) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if !isGuest(in.NodeId) {
		return r.RawFileSystem.Open(cancel, in, out)
	}
	n, errno := r.node(in.NodeId)
	if errno != 0 {
		return fuse.Status(errno)
	}
	a, err := n.fsys.Stat(n.ino)
	if err != nil {
		return fuse.Status(n.errno(err))
	}
	f, err := n.fsys.Open(n.ino)
	if err != nil {
		return fuse.Status(n.errno(err))
	}
	out.Fh = r.handle(&guestFile{node: n, file: f, size: a.Size})
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
	return fuse.OK
}

// Read answers with all that was asked for up to the file's end, or an error: the kernel
// takes a short reply for the end of the file.
func (r *guestTree) Read(cancel <-chan struct{}, in *fuse.ReadIn, dest []byte) (fuse.ReadResult, fuse.Status) {
	if !isGuest(in.NodeId) {
		return r.RawFileSystem.Read(cancel, in, dest)
	}
	f, ok := r.opened(in.Fh).(*guestFile)
	if !ok {
		return nil, fuse.EBADF
	}
	left := f.size - int64(in.Offset)
	if left <= 0 {
		return fuse.ReadResultData(nil), fuse.OK
	}
	dest = dest[:min(int64(len(dest)), left)]
	n, err := f.file.ReadAt(dest, int64(in.Offset))
	if n == len(dest) && (err == nil || errors.Is(err, io.EOF)) {
		return fuse.ReadResultData(dest), fuse.OK
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return nil, fuse.Status(f.node.errno(err))
}

func (r *guestTree) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	if !isGuest(in.NodeId) {
		return r.RawFileSystem.Lseek(cancel, in, out)
	}
	f, ok := r.opened(in.Fh).(*guestFile)
	if !ok {
		return fuse.EBADF
	}
	at, err := f.seek.next(f.file, f.size, int64(in.Offset), in.Whence)
	out.Offset = uint64(at)
	if errno, own := err.(syscall.Errno); own {
		return fuse.Status(errno)
	}
	return fuse.Status(f.node.errno(err))
}

func (r *guestTree) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	if !isGuest(in.NodeId) {
		r.RawFileSystem.Release(cancel, in)
		return
	}
	if f, ok := r.release(in.Fh).(*guestFile); ok {
		f.seek.close()
	}
}

// extentSeeker answers lseek from the extents of a file. Programs go from front to back,
// so the list is read once then, however many questions there are.
type extentSeeker struct {
	mu   sync.Mutex // guards what follows; held while extents are read
	pull func() (gtree.Extent, error, bool)
	stop func()
	at   gtree.Extent // the last that was read; its neighbours are joined to it
	more gtree.Extent // the one behind it, if it was read
	end  bool         // there is none behind `more`
}

func (s *extentSeeker) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset()
}

func (s *extentSeeker) reset() {
	if s.stop != nil {
		s.stop()
	}
	s.pull, s.stop, s.at, s.more, s.end = nil, nil, gtree.Extent{}, gtree.Extent{}, false
}

// advance reads the next run of extents that touch each other into at; at.Len is 0
// behind the last.
func (s *extentSeeker) advance(f gtree.File) error {
	if s.pull == nil {
		s.pull, s.stop = iter.Pull2(f.Extents())
	}
	s.at, s.more = s.more, gtree.Extent{}
	for !s.end {
		e, err, ok := s.pull()
		switch {
		case err != nil:
			s.reset()
			return err
		case !ok:
			s.end = true
		case e.Len <= 0:
		case s.at.Len == 0:
			s.at = e
		case e.Off == s.at.Off+s.at.Len:
			s.at.Len += e.Len
		default:
			s.more = e
			return nil
		}
	}
	return nil
}

func (s *extentSeeker) next(f gtree.File, size, off int64, whence uint32) (int64, error) {
	if whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE {
		return 0, syscall.EINVAL
	}
	if off < 0 || off >= size {
		return 0, syscall.ENXIO
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if off < s.at.Off || s.pull == nil {
		s.reset()
		if err := s.advance(f); err != nil {
			return 0, err
		}
	}
	for s.at.Len > 0 && s.at.Off+s.at.Len <= off {
		if err := s.advance(f); err != nil {
			return 0, err
		}
	}
	inside := s.at.Len > 0 && s.at.Off <= off
	switch {
	case whence == unix.SEEK_DATA && s.at.Len == 0:
		s.reset()
		return 0, syscall.ENXIO
	case whence == unix.SEEK_DATA:
		return min(max(off, s.at.Off), size), nil
	case inside:
		return min(s.at.Off+s.at.Len, size), nil
	}
	if s.at.Len == 0 {
		s.reset() // the next question may be about what lies before
	}
	return off, nil
}
