package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockName is the file in a daemon's folder that the daemon holds locked as long as it lives: longer than it
// answers, since it owns vaults before and after.
const lockName = "daemon.lock"

// ErrAlive says that another daemon lives in a folder.
var ErrAlive = errors.New("another daemon lives there")

// Live makes this process the daemon of a folder until release is called or the process ends. Another
// one that is just ending is waited for, as long as ctx lasts; then it is an ErrAlive.
func Live(ctx context.Context, dir string) (release func() error, err error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the folder of the daemon: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f.Close, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%s: %w", dir, ErrAlive), f.Close())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Alive tells whether a daemon lives in a folder, whether it answers or not. What cannot be told is no.
func Alive(dir string) bool {
	f, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return false
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	return errors.Is(err, unix.EWOULDBLOCK)
}
