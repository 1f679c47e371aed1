package extract

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Options of [Copy], [Tar] and [Zip].
type Options struct {
	// AsIs keeps owners, modes, times, extended attributes, ACLs, hard links, holes and
	// links as they are, and devices; what takes root is left out, and noted, without.
	// A plain copy is of files, folders and the links within it, with the permissions
	// that the umask allows.
	AsIs bool

	// Replace lets files that exist be replaced. A folder is never.
	Replace bool

	// Sparse has a tar archive leave holes out, in a form that not every reader knows (GNU tar and bsdtar do).
	Sparse bool

	// Entries is how many an archive may have; what is more is a problem. 0: any number.
	// A zip archive keeps some 500 bytes of each in memory until its end.
	Entries int64

	// Last returns the name and text of a file that ends an archive, and says what was not taken, say;
	// without a name there is none. nil: there is none.
	Last func(Result) (name string, text []byte)

	// Progress is told of bytes and files so far. nil: nobody.
	Progress func(bytes, files int64)
}

func (o *Options) progress(r *Result) {
	if o.Progress != nil {
		o.Progress(r.Bytes, r.Files)
	}
}

// Result is what was taken.
type Result struct {
	Files, Folders, Links int64 // Links: symbolic and hard ones
	Bytes                 int64 // of content; holes count where they were written as zeros

	Problems []Problem // what was not taken; at most maxProblems of them
	Failed   int64     // how many there were
	Damaged  bool      // one of them is damage

	// Notes say what was left out by rule: devices of a plain copy, owners without root.
	Notes []string
	noted map[string]int64
	buf   *[]byte // what files are read into, one after the other
}

// buffer is where content of so many bytes goes through: the same for all files, since most
// are small, and many.
func (r *Result) buffer(size int64) []byte {
	if n := min(size, chunk); r.buf == nil || int64(len(*r.buf)) < n {
		b := make([]byte, max(n, 64<<10))
		r.buf = &b
	}
	return *r.buf
}

// Problem is a path of the guest that was not taken, or not as it was.
type Problem struct {
	Path string
	Err  error
}

const maxProblems = 1000

func (r *Result) problem(path string, err error) {
	r.Failed++
	r.Damaged = r.Damaged || damage(err)
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, Problem{path, err})
	}
}

func damage(err error) bool {
	return errors.As(err, new(*tree.CorruptError)) || errors.As(err, new(*blockstore.CorruptError))
}

// note counts what is left out by rule.
func (r *Result) note(what string) {
	if r.noted == nil {
		r.noted = map[string]int64{}
	}
	r.noted[what]++
}

// fatal tells errors after which going on makes no sense: those of the target as a whole.
func fatal(err error) bool {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.EPIPE} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// held makes the target's reason a sentence where its own is none.
func held(err error) error {
	switch {
	case errors.Is(err, syscall.ENAMETOOLONG):
		return errors.New("its name is longer than the target's file system can hold")
	case errors.Is(err, syscall.EILSEQ), errors.Is(err, syscall.EINVAL):
		return errors.New("its name is none that the target's file system can hold")
	case errors.Is(err, fs.ErrExist):
		return errors.New("there is something of that name already")
	}
	return err
}
