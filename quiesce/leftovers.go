package quiesce

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// Outcome is what became of a freeze that was found in a journal.
type Outcome string

// The outcomes.
const (
	Thawed Outcome = "thawed" // verified
	Gone   Outcome = "gone"   // the machine does not run any more; nothing is frozen here
	Going  Outcome = "going"  // not left behind: its process or guard takes care
	Failed Outcome = "failed" // the guest may be frozen still
)

// ErrGoing says that a freeze was not left behind.
var ErrGoing = errors.New("another process takes care of the freeze")

// Leftover is a freeze that was found in a journal.
type Leftover struct {
	Entry   Entry
	File    string // of the journal
	Outcome Outcome
	Count   int   // of file systems that were frozen
	Err     error // why it failed, or that the machine is gone
}

const (
	// ThawPatience is for how long is tried to thaw one guest that was left frozen, or by hand.
	ThawPatience    = 30 * time.Second
	leftoversAtOnce = 8
)

// ThawLeftovers thaws the guests whose freezes were left behind in the journal
// in dir, which need not exist, and takes the notes of them away. It reads
// nothing else. Each guest gets up to [ThawPatience]. What could not be thawed is
// in the list, not in the error.
func ThawLeftovers(ctx context.Context, dir string) ([]Leftover, error) {
	return thawLeftovers(ctx, dir, func(Entry) bool { return true })
}

func thawLeftovers(ctx context.Context, dir string, which func(Entry) bool) ([]Leftover, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	paths, err := entries(dir)
	if err != nil {
		return nil, err
	}
	found := make([]*Leftover, len(paths))
	var work errgroup.Group
	work.SetLimit(leftoversAtOnce)
	for i, path := range paths {
		work.Go(func() error {
			found[i] = thawLeftover(ctx, path, which)
			return nil
		})
	}
	work.Wait()
	var list []Leftover
	for _, l := range found {
		if l != nil {
			list = append(list, *l)
		}
	}
	return list, nil
}

// thawLeftover returns nil where the entry is none that was meant, or not there any more.
func thawLeftover(ctx context.Context, path string, which func(Entry) bool) *Leftover {
	r, e, err := take(path)
	l := &Leftover{Entry: e, File: path, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist) || e.Version != 0 && !which(e):
		if r != nil {
			r.leave()
		}
		return nil
	case errors.Is(err, errHeld):
		l.Outcome, l.Err = Going, nil
		return l
	case err != nil:
		l.Outcome, l.Err = Failed, fmt.Errorf("%s: %w", path, err)
		return l
	}
	ctx, cancel := context.WithTimeout(ctx, ThawPatience)
	defer cancel()
	l.Count, l.Err = thawAt(ctx, e.Reach)
	switch {
	case l.Err == nil:
		l.Outcome, l.Err = Thawed, r.done()
	case errors.Is(l.Err, qga.ErrGone):
		l.Outcome = Gone
		r.done()
	default:
		l.Outcome = Failed
		r.leave()
	}
	return l
}

// Thaw thaws one guest by hand, whoever froze it, and returns how many file
// systems were frozen. It tries for [ThawPatience], or until ctx ends. A machine that does not run is [qga.ErrGone],
// and [ErrNoLibvirt] a domain of a libvirt that does not.
func Thaw(ctx context.Context, at Reach) (int, error) {
	at, err := at.settled()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, ThawPatience)
	defer cancel()
	return thawAt(ctx, at)
}
