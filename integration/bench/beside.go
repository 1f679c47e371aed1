package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// runBeside is `bench beside VAULT DISK sweep|alone`: it backs up a disk whose
// blocks the vault does not have, with or without a sweep in the same process, and prints
// the seconds of both.
func runBeside(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: bench beside VAULT DISK sweep|alone")
	}
	ctx := context.Background()
	f, err := os.Open(args[1])
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	var backed, swept time.Duration
	err = withOwner(ctx, args[0], func(o *blockstore.Owner) error {
		var sweeping sync.WaitGroup
		var sweepErr error
		start := time.Now()
		if args[2] == "sweep" {
			sweeping.Go(func() {
				_, sweepErr = o.Sweep(ctx, blockstore.SweepOptions{Now: true, Trash: true})
				swept = time.Since(start)
			})
		}
		_, err := backUpSource(ctx, o, "other", time.Now(), shifted{f, st.Size() - patchBlock})
		backed = time.Since(start)
		sweeping.Wait()
		return errors.Join(err, sweepErr)
	})
	fmt.Println(backed.Seconds(), swept.Seconds())
	return err
}

// shifted is a disk with the content of another, a little further on in its blocks,
// so that all of it is new.
type shifted struct {
	*os.File
	size int64
}

func (s shifted) Size() int64 { return s.size }

func (s shifted) ReadAt(p []byte, off int64) (int, error) { return s.File.ReadAt(p, off+1234) }

func (s shifted) Extents(_ context.Context, fn func(blockstore.Extent) error) error {
	return fn(blockstore.Extent{Length: s.size})
}
