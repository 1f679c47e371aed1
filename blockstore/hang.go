package blockstore

import (
	"context"
	"runtime"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
)

// DefaultPatience is how long a call into the file system of a vault may take.
const DefaultPatience = time.Minute

// HangError reports a vault whose file system does not answer. The Owner that
// returned it writes no more, even if it answers later; Close gives the vault
// up then.
type HangError = backend.HangError

func patience(o time.Duration) time.Duration {
	switch {
	case o == 0:
		return DefaultPatience
	case o < 0:
		return 0
	}
	return o
}

// unlessHung returns what fn returns, or a *HangError as soon as the vault's
// file system does not answer. A goroutine is left behind then: nothing ends a
// call that the kernel does not end. Its context is cancelled, and nothing that it
// does becomes visible in the vault. What fn was given must stay usable.
func unlessHung(ctx context.Context, d *backend.Dir, fn func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done, returned := make(chan error, 1), false
	go func() {
		var err error
		defer func() {
			if !returned {
				close(done) // fn ended its goroutine, as a test that fails does
				return
			}
			done <- err
		}()
		err = fn(ctx)
		returned = true
	}()
	select {
	case err, ok := <-done:
		if !ok {
			runtime.Goexit()
		}
		return err
	case <-d.Hung():
		return d.HangError()
	}
}

// unlessHung is that of the package, for calls without a context of their own.
func (v *Vault) unlessHung(fn func() error) error {
	return unlessHung(context.Background(), v.dir, func(context.Context) error { return fn() })
}
