package qemu

import (
	"context"
	"fmt"
)

// isJobFilter tells a node that a job put above a disk from the disk.
func isJobFilter(driver string) bool {
	switch driver {
	case "copy-before-write", "backup-top", "mirror_top", "commit_top":
		return true
	}
	return false
}

// migrating refuses a machine that is on its way from or to another host: a snapshot
// would make the move fail.
func (m *Machine) migrating(ctx context.Context, now runState) error {
	var move struct {
		Status string `json:"status"`
	}
	if err := m.do(ctx, "query-migrate", nil, &move); err != nil {
		return err
	}
	switch move.Status {
	case "", "none", "completed", "failed", "cancelled":
	default:
		return fmt.Errorf("%w: a migration (%s)", ErrInUse, move.Status)
	}
	if now.Status == "inmigrate" || now.Status == "postmigrate" || now.Status == "finish-migrate" {
		return fmt.Errorf("%w: a migration (the machine is in state %s)", ErrInUse, now.Status)
	}
	return nil
}
