package quiesce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

const (
	// thawCall bounds one request of a thaw, and thawCallVSS the first in a Windows guest,
	// whose agent answers when all writers of VSS have completed the backup.
	thawCall    = 5 * time.Second
	thawCallVSS = 30 * time.Second

	firstRetry = 10 * time.Millisecond // then twice that, and so on
	lastRetry  = 500 * time.Millisecond
)

// thawed is what was seen while a guest was thawed.
type thawed struct {
	at    time.Time // of the first answer that it is
	count int       // of file systems that the first answer names
	first error     // of the first request; nil: it was obeyed
}

// thaw asks the guest to thaw until it says that nothing is frozen, at most
// until ctx ends. The first request may take as long as first, the next are shorter. A
// machine that does not run is [qga.ErrGone].
func thaw(ctx context.Context, g thawer, first time.Duration) (thawed, error) {
	var t thawed
	answered := false
	var last error
	for try, wait := 0, firstRetry; ; try, wait = try+1, min(2*wait, lastRetry) {
		limit := thawCall
		if try == 0 {
			limit = first
		}
		n, err := thawOnce(ctx, g, limit)
		if try == 0 {
			t.first = err
		}
		if err == nil && !answered {
			t.at, t.count, answered = time.Now(), n, true
		}
		done, status := verified(ctx, g, n, err)
		if done {
			if !answered {
				t.at = time.Now()
			}
			return t, nil
		}
		if errors.Is(err, qga.ErrGone) {
			return t, err
		}
		if last == nil || ctx.Err() == nil { // that ctx cut a request short says less than what was answered before
			last = errors.Join(err, status)
		}
		if err == nil && status == nil {
			last = errors.New("the guest agent says that it is still frozen")
		}
		select {
		case <-ctx.Done():
			return t, fmt.Errorf("not thawed after %d tries: %w", try+1, last)
		case <-time.After(wait):
		}
	}
}

func thawOnce(ctx context.Context, g thawer, limit time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return g.Thaw(ctx)
}

// verified tells whether nothing is frozen any more, after a thaw that thawed n
// file systems or failed. Where there is no status to ask for, a thaw that found
// nothing frozen says the same.
func verified(ctx context.Context, g thawer, n int, err error) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, thawCall)
	defer cancel()
	frozen, status := g.Frozen(ctx)
	if errors.Is(status, errors.ErrUnsupported) {
		return err == nil && n == 0, nil
	}
	return status == nil && !frozen, status
}
