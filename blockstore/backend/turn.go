package backend

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Turn waits until no other process is between Turn and its done for a folder,
// which is made when it is not there. File systems that cannot lock a folder,
// as NFS, give everybody their turn at once. A process that ends has ended its
// turn.
func (d *Dir) Turn(name string) (done func(), err error) {
	if err := d.MakeDir(name); err != nil {
		return nil, err
	}
	f, err := os.Open(d.Path(name))
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return func() {
		unix.Flock(int(f.Fd()), unix.LOCK_UN)
		f.Close()
	}, nil
}
