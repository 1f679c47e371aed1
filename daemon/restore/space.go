package restore

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// spaceNeeds gathers the bytes to be allocated on each file system.
type spaceNeeds map[uint64]*spaceNeed

type spaceNeed struct {
	folder string
	bytes  int64
}

// add counts bytes for a file in the folder of path.
func (s spaceNeeds) add(path string, bytes int64) error {
	folder := filepath.Dir(path)
	var st unix.Stat_t
	if err := unix.Stat(folder, &st); err != nil {
		return &os.PathError{Op: "look at folder", Path: folder, Err: err}
	}
	need := s[st.Dev]
	if need == nil {
		need = &spaceNeed{folder: folder}
		s[st.Dev] = need
	}
	need.bytes += bytes
	return nil
}

// check compares the needs with what is free.
func (s spaceNeeds) check() error {
	for _, need := range s {
		var st unix.Statfs_t
		if err := unix.Statfs(need.folder, &st); err != nil {
			return &os.PathError{Op: "ask for free space", Path: need.folder, Err: err}
		}
		if st.Blocks == 0 {
			continue // it does not say
		}
		if free := int64(st.Bavail) * st.Bsize; need.bytes > free {
			return fmt.Errorf("too little space for files in %s: %s are needed, %s are free: make room or choose another place",
				need.folder, mib(need.bytes), mib(free))
		}
	}
	return nil
}

// mib words a number of bytes with enough digits to compare two.
func mib(n int64) string { return fmt.Sprintf("%.1f MiB (%d bytes)", float64(n)/(1<<20), n) }
