package fusefs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"syscall"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// errno turns an error of the vault, met at a file of p, into what the kernel is
// told. What someone should look at is logged, once for each address.
//
//	damaged content           EIO, logged; ESTALE where the point was dropped meanwhile
//	cancelled by the reader   EINTR
//	not in the vault          ESTALE
//	not permitted             EACCES, logged
//	a bare errno              itself (ENXIO, EINVAL of lseek)
//	anything else             EIO, logged; once for all files where it passes
func (t *tree) errno(err error, p *blockstore.Point, file string) syscall.Errno {
	var corrupt *blockstore.CorruptError
	if err == nil {
		return 0
	}
	if own, ok := err.(syscall.Errno); ok { // not wrapped: a node's own answer
		return own
	}
	switch {
	case errors.As(err, &corrupt):
		if !t.current.Load().shows(p) {
			return syscall.ESTALE
		}
		t.faults.damaged(corrupt, p, file)
		return syscall.EIO
	case errors.Is(err, context.Canceled):
		return syscall.EINTR
	case errors.Is(err, blockstore.ErrNotFound):
		return syscall.ESTALE
	}
	key := fmt.Sprintf("%s %s %v", p.ID, file, err)
	if passing(err) { // the same for all files
		key = err.Error()
	}
	t.faults.once(key,
		"a file cannot be read", "machine", p.MachineName, "point", string(p.ID), "file", file, "error", err)
	if errors.Is(err, fs.ErrPermission) {
		return syscall.EACCES
	}
	return syscall.EIO
}

// unnameable logs that a part of a point has a name that no file can have.
func (t *tree) unnameable(p *blockstore.Point, what, name string) {
	t.faults.once(fmt.Sprintf("name %s %s %q", p.ID, what, name), "a part of a point is not shown: its name cannot name a file",
		"machine", p.MachineName, "point", string(p.ID), what, fmt.Sprintf("%.80q", name))
}

// maxFaults bounds how many logged addresses are remembered. A vault with more
// is logged again from the start.
const maxFaults = 1 << 16

// faultLog logs each thing once, however often the kernel asks: it retries a
// failed readahead page by page.
type faultLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	seen map[string]bool // guarded by mu
}

func newFaultLog(log *slog.Logger) *faultLog {
	return &faultLog{log: log, seen: map[string]bool{}}
}

// first tells whether key is met for the first time.
func (f *faultLog) first(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen[key] {
		return false
	}
	if len(f.seen) >= maxFaults {
		clear(f.seen)
	}
	f.seen[key] = true
	return true
}

func (f *faultLog) once(key, msg string, args ...any) {
	if f.first(key) {
		f.log.Warn(msg, args...)
	}
}

// damaged logs damaged content by its address. What the error does not know, the
// file that was read does.
func (f *faultLog) damaged(e *blockstore.CorruptError, p *blockstore.Point, file string) {
	if !f.first(fmt.Sprintf("damaged %s %s %d", p.ID, file, e.Offset)) {
		return
	}
	args := []any{"machine", p.MachineName, "point", string(p.ID)}
	if e.Disk != "" {
		args = append(args, "disk", e.Disk, "offset", e.Offset, "length", e.Length)
	} else {
		args = append(args, "file", file)
	}
	f.log.Error("damaged data", append(args, "error", e.Err)...)
}
