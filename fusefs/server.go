package fusefs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"
)

// Server is a mount. All methods are safe for concurrent use.
type Server struct {
	path   string
	device string // major:minor of the mount
	t      *tree
	root   *rootNode

	gone  chan struct{}  // closed when the kernel has ended the mount
	loops sync.WaitGroup // serving, refreshing, watching over ctx
}

// Mountpoint is where the mount is, without links.
func (s *Server) Mountpoint() string { return s.path }

// Wait returns when the mount has ended, by whatever hand, and all that ran for
// it with it.
func (s *Server) Wait() { s.loops.Wait() }

// Patience with files that were closed a moment ago: the kernel tells so late.
const (
	unmountTries = 8
	unmountPause = 25 * time.Millisecond
)

// Unmount takes the mount down and waits for its end. While somebody uses it, it
// goes on, and the error is a *[BusyError] that names them. Of a mount that is out
// of sight already it only awaits the end.
func (s *Server) Unmount() error {
	if err := s.detach(); err != nil {
		return err
	}
	s.Wait()
	return nil
}

// detach takes the mount out of the tree of folders if nobody uses it.
func (s *Server) detach() error {
	var err error
	for try := range unmountTries {
		var there bool
		if there, err = s.onTop(); err != nil || !there {
			break
		}
		if err = detach(context.Background(), s.path, false); !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(time.Duration(try) * unmountPause)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EBUSY):
		return &BusyError{Mountpoint: s.path, Users: Users(s.path)}
	}
	return fmt.Errorf("unmount %s: %w", s.path, err)
}

// UnmountLazily takes the mount out of sight at once. Files that are open go on
// being served until they are closed; [Server.Wait] returns then.
func (s *Server) UnmountLazily() error {
	on, err := s.onTop()
	if err == nil && on {
		err = detach(context.Background(), s.path, true)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", s.path, err)
	}
	return nil
}

// onTop tells whether the mount is there still. Another file system mounted over
// it is an error: unmounting would take that one away.
func (s *Server) onTop() (bool, error) {
	select {
	case <-s.gone:
		return false, nil
	default:
	}
	at, err := mountsAt(s.path)
	if err != nil {
		return false, err
	}
	for i, m := range at {
		if m.device == s.device && i < len(at)-1 {
			return true, fmt.Errorf("%s (%s) is mounted over it: unmount that first", at[i+1].source, at[i+1].kind)
		}
		if m.device == s.device {
			return true, nil
		}
	}
	return false, nil
}

// unmountAfter takes the mount down when ctx ends, and tries again every second
// while somebody uses it.
func (s *Server) unmountAfter(ctx context.Context) {
	select {
	case <-s.gone:
		return
	case <-ctx.Done():
	}
	for said := ""; ; {
		err := s.detach()
		if err == nil {
			return
		}
		if err.Error() != said {
			said = err.Error()
			s.t.o.Busy(err)
		}
		select {
		case <-s.gone:
			return
		case <-time.After(time.Second):
		}
	}
}
