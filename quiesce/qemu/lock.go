package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockProcess keeps other runs from a QEMU process, whatever scratch folder they use. The
// lock is on a file of the process that only its user and root can open. It is nil
// where there is none. Errors: ErrBusy, what ctx says.
func lockProcess(ctx context.Context, pid int) (*os.File, error) {
	if pid <= 0 {
		return nil, nil
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return nil, nil // it may be another user's: the lock in the scratch folder must do
	}
	for range 20 {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return f, nil
		}
		if ended := pause(ctx, 25*time.Millisecond); ended != nil {
			f.Close()
			return nil, ended
		}
	}
	f.Close()
	return nil, ErrBusy
}
