package backend

import (
	"errors"
	"fmt"
	"syscall"
)

// ErrFull reports a file system whose free space is below the floor, or used
// up.
var ErrFull = errors.New("no space left")

// full marks err as ErrFull where the system's error means that.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
