package restore

import (
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// turn is a run of the disk on its way to a stream.
type turn struct {
	span
	buf  []byte        // of data; nil for zeros
	done chan struct{} // closed when buf is filled
}

// stream writes the disk to w in order, while workers read ahead of it, at most
// two windows each.
func stream(ctx context.Context, s *source, w io.Writer, workers int, prog *progress) error {
	g, ctx := errgroup.WithContext(ctx)
	depth := 2 * workers
	free := make(chan []byte, depth) // buffers nobody uses
	for range depth {
		free <- make([]byte, window)
	}
	todo := make(chan *turn, depth)  // to be read, in any order
	queue := make(chan *turn, depth) // to be written, in the disk's order
	g.Go(func() error {
		defer close(queue)
		defer close(todo)
		return s.cuts(ctx, func(c span, kind blockstore.ExtentKind) error {
			t := &turn{span: c}
			if kind == blockstore.Data {
				t.done = make(chan struct{})
				select {
				case t.buf = <-free:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
				todo <- t // never waits: there are no more of them than buffers
			}
			select {
			case queue <- t:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	})
	for range workers {
		g.Go(func() error {
			for t := range todo {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := s.read(t.buf[:t.len()], t.off, s.damaged); err != nil {
					return err
				}
				close(t.done)
			}
			return nil
		})
	}
	g.Go(func() error { return writeTurns(ctx, w, queue, free, prog) })
	return g.Wait()
}

// writeTurns writes what the queue yields, each when it is filled.
func writeTurns(ctx context.Context, w io.Writer, queue <-chan *turn, free chan<- []byte, prog *progress) error {
	if d, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		// A pipe that nobody reads must not keep a cancelled restore; what has no deadlines
		// says so, and is waited for.
		defer context.AfterFunc(ctx, func() { d.SetWriteDeadline(time.Unix(1, 0)) })()
	}
	for t := range queue {
		if t.buf != nil {
			select {
			case <-t.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		for off := t.off; off < t.end; {
			p := zeroes[:min(t.end-off, window)]
			if t.buf != nil {
				p = t.buf[:t.len()]
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if _, err := w.Write(p); err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				return fmt.Errorf("write at offset %d: %w", off, err)
			}
			off += int64(len(p))
			prog.add(int64(len(p)))
		}
		if t.buf != nil {
			free <- t.buf // never waits
		}
	}
	return nil
}
