package main

import (
	"context"
	"fmt"
)

// lender is a daemon that can give the vault that it owns out of its hands for a while.
type lender interface {
	Lend(ctx context.Context, vault string) (giveBack func(), err error)
}

// borrow has the daemon that owns a vault, if one does, leave it to this process until it is given back: for
// what is rarely done, and by one process alone. Backups that run then end first.
func (k *console) borrow(ctx context.Context, path string) (giveBack func(), err error) {
	w := k.daemonOf(ctx, path, daemonPatience)
	if w == nil {
		return func() {}, nil
	}
	l, ok := w.Operations.(lender)
	if !ok {
		w.close()
		return func() {}, nil
	}
	back, err := l.Lend(ctx, w.vault)
	if err != nil {
		w.close()
		return nil, fmt.Errorf("the daemon that owns vault %s does not lend it: %w", path, err)
	}
	return func() { back(); w.close() }, nil
}
