package blockstore

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// DefaultBudget is the memory for buffers of all backups of a process, in
// bytes.
const DefaultBudget = 128 << 20

// Budget bounds the bytes of buffers of all backups that share it.
type Budget struct {
	size int64
	free *semaphore.Weighted
}

// NewBudget returns a budget of so many bytes. One too small for a single
// piece of work is raised to what that needs.
func NewBudget(bytes int64) *Budget {
	bytes = max(bytes, 2*(chunkBytes+recordSpace))
	return &Budget{bytes, semaphore.NewWeighted(bytes)}
}

// take waits for n bytes.
func (b *Budget) take(ctx context.Context, n int64) error { return b.free.Acquire(ctx, min(n, b.size)) }

func (b *Budget) give(n int64) { b.free.Release(min(n, b.size)) }
