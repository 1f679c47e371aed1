package restore

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// fan runs each piece of the disk through one of several workers. newWorker is
// called once for each, so that it can have buffers of its own.
func fan(ctx context.Context, s *source, workers int, zeros bool, newWorker func() func(context.Context, piece) error) error {
	g, ctx := errgroup.WithContext(ctx)
	todo := make(chan piece, workers)
	g.Go(func() error {
		defer close(todo)
		return s.pieces(ctx, zeros, func(p piece) error {
			select {
			case todo <- p:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	})
	for range workers {
		work := newWorker()
		g.Go(func() error {
			for p := range todo {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := work(ctx, p); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// fill writes the whole disk to the target.
func fill(ctx context.Context, s *source, t Target, workers int, prog *progress) error {
	return fan(ctx, s, workers, !t.Blank(), func() func(context.Context, piece) error {
		buf := make([]byte, window)
		return func(_ context.Context, p piece) error {
			for _, d := range p.data {
				b := buf[:d.len()]
				if err := s.read(b, d.off, s.damaged); err != nil {
					return err
				}
				if _, err := t.WriteAt(b, d.off); err != nil {
					return fmt.Errorf("write %d bytes at %d: %w", len(b), d.off, err)
				}
			}
			if p.zero.len() > 0 {
				if err := t.Zero(p.zero.off, p.zero.len()); err != nil {
					return fmt.Errorf("write %d zeros at %d: %w", p.zero.len(), p.zero.off, err)
				}
			}
			prog.add(p.len())
			return nil
		}
	})
}
