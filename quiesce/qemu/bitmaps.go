package qemu

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// bitmaps removes those of the vault, except the one to keep. That one gets back what
// was written since a snapshot stopped it; where nobody recorded that, it goes too.
func (sw *sweeping) bitmaps(ctx context.Context) error {
	if sw.vault == "" {
		return nil
	}
	nodes, err := sw.settled(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range nodes {
		if ours(n.Name) {
			continue
		}
		if err := sw.bitmapsOn(ctx, n); err != nil {
			if gone(err) {
				return err
			}
			errs = append(errs, fmt.Errorf("bitmaps on %s: %w", n.Name, err))
		}
	}
	return errors.Join(errs...)
}

// settled waits a little until no bitmap of ours is in use: exports and jobs let go
// of them when they end.
func (sw *sweeping) settled(ctx context.Context) ([]node, error) {
	for until := time.Now().Add(5 * time.Second); ; {
		nodes, err := sw.m.nodes(ctx)
		if err != nil || sw.dry {
			return nodes, err
		}
		busy := false
		for _, n := range nodes {
			for _, b := range n.Bitmaps {
				busy = busy || b.Busy && sw.mine(b.Name) && !ours(n.Name)
			}
		}
		if !busy || time.Now().After(until) {
			return nodes, nil
		}
		if err := pause(ctx, shortWait); err != nil {
			return nil, err
		}
	}
}

func (sw *sweeping) mine(bitmap string) bool {
	vault, ok := vaultOf(bitmap)
	return ok && vault == sw.vault
}

func (sw *sweeping) bitmapsOn(ctx context.Context, n node) error {
	var keep *Bitmap
	var others []Bitmap
	for i := range n.Bitmaps {
		switch b := &n.Bitmaps[i]; {
		case !sw.mine(b.Name):
		case n.ReadOnly && b.Persistent:
			// It lies in an image that others rest on. QEMU cannot remove it there, and nobody believes
			// it; should the image become a disk again, the next run finds it.
		case b.Name == sw.keep:
			keep = b
		default:
			others = append(others, *b)
			sw.found = append(sw.found, Leftover{Kind: "bitmap", Name: b.Name, Node: n.Name})
		}
	}
	if sw.dry {
		return nil
	}
	if keep != nil && (keep.Inconsistent || !keep.Recording) {
		if err := sw.mend(ctx, n.Name, keep, others); err == nil {
			return nil
		} else if gone(err) {
			return err
		}
		why := "the bitmap had stopped, and nothing recorded what was written after that"
		if keep.Inconsistent {
			why = inconsistent
		}
		sw.found = append(sw.found, Leftover{Kind: "bitmap", Name: keep.Name, Node: n.Name, Why: why})
		others = append(others, *keep) // a bitmap with a gap is worse than none
	}
	var errs []error
	for _, b := range others {
		errs = append(errs, sw.m.do(ctx, "block-dirty-bitmap-remove", object{"node": n.Name, "name": b.Name}, nil))
	}
	return errors.Join(errs...)
}

// mend lets the bitmap to keep count again, as if it had never stopped: in one
// transaction with the merge of the one that began when it stopped, which a run
// that failed has left. A run makes one only, after removing all others.
func (sw *sweeping) mend(ctx context.Context, on string, keep *Bitmap, others []Bitmap) error {
	if keep.Inconsistent || len(others) != 1 || others[0].Inconsistent || !others[0].Recording {
		return errors.New("there is a gap")
	}
	newer := others[0].Name
	return sw.m.do(ctx, "transaction", object{"actions": []object{
		{"type": "block-dirty-bitmap-enable", "data": object{"node": on, "name": keep.Name}},
		{"type": "block-dirty-bitmap-merge", "data": object{"node": on, "target": keep.Name, "bitmaps": []string{newer}}},
		{"type": "block-dirty-bitmap-remove", "data": object{"node": on, "name": newer}},
	}}, nil)
}
