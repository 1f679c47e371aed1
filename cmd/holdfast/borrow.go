package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// lender is a daemon that can give the vault that it owns out of its hands for a while.
type lender interface {
	Lend(ctx context.Context, vault string) (giveBack func(), err error)
}

// borrow has the daemon that owns a vault, if one does, leave it to this process until it is given back: for
// what is rarely done, and by one process alone. Jobs that run there are waited for, and who has borrowed it
// before, as long as wait says.
func (k *console) borrow(ctx context.Context, path string, wait time.Duration) (giveBack func(), err error) {
	w := k.daemonOf(ctx, path, max(wait, daemonPatience))
	owns := w != nil
	if !owns { // one that could not open it would try again meanwhile, and does at once afterwards
		w = k.daemonNaming(ctx, path)
	}
	if w == nil {
		k.verbosely("no daemon owns the vault: this command does the work itself")
		return func() {}, nil
	}
	l, ok := w.Operations.(lender)
	if !ok {
		w.close()
		return func() {}, nil
	}
	var back func()
	err = k.untilFree(ctx, wait, func() (err error) {
		back, err = l.Lend(ctx, w.vault)
		return err
	})
	if err != nil && !owns && ctx.Err() == nil {
		w.close()
		k.verbosely("the daemon at %s, which could not open the vault, does not lend it (%v): this command does the work itself", w.daemon, err)
		return func() {}, nil
	}
	if err != nil {
		w.close()
		return nil, fmt.Errorf("the daemon that owns vault %s does not lend it: %w", path, err)
	}
	k.verbosely("the daemon at %s lends the vault: this command does the work itself", w.daemon)
	return func() { back(); w.close() }, nil
}

// freeLook is how often a daemon is asked again whether a vault is free.
const freeLook = 500 * time.Millisecond

// untilFree calls do again, and says for whom it waits, as long as another one uses a vault of the daemon, so
// that nothing is done.
func (k *console) untilFree(ctx context.Context, wait time.Duration, do func() error) error {
	deadline := time.Now().Add(wait)
	for told := ""; ; {
		err := do()
		var p *api.Problem
		if !errors.As(err, &p) || p.Kind != service.KindInUse || !time.Now().Before(deadline) {
			return err
		}
		if told != p.Detail {
			told = p.Detail
			k.say("waiting: %s", told)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(freeLook):
		}
	}
}
