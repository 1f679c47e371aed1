package qemu

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// sweeping takes everything of ours out of QEMU, or (dry) lists it.
type sweeping struct {
	m           *Machine
	vault, keep string // as in CleanRequest
	folder      string // the run's
	dry         bool
	found       []Leftover
}

func (sw *sweeping) note(kind, name string) {
	sw.found = append(sw.found, Leftover{Kind: kind, Name: name})
}

// all goes from what uses to what is used. A step that fails does not keep the
// others from being tried.
func (sw *sweeping) all(ctx context.Context) error {
	var errs []error
	for _, step := range []func(context.Context) error{sw.exports, sw.jobs, sw.nodes, sw.bitmaps} {
		err := sw.within(ctx, step)
		if gone(err) {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (sw *sweeping) within(ctx context.Context, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return step(ctx)
}

// exports removes ours, and the NBD server where it is ours.
func (sw *sweeping) exports(ctx context.Context) error {
	server := sw.serverIsOurs()
	tried := map[string]bool{}
	for {
		var list []struct {
			ID   string `json:"id"`
			Type string `json:"type"`
		}
		if err := sw.m.do(ctx, "query-block-exports", nil, &list); err != nil {
			return err
		}
		left := 0
		for _, e := range list {
			if !ours(e.ID) {
				continue
			}
			left++
			server = server || e.Type == "nbd"
			if tried[e.ID] {
				continue
			}
			tried[e.ID] = true
			sw.note("export", e.ID)
			if sw.dry {
				continue
			}
			if err := sw.m.do(ctx, "block-export-del", object{"id": e.ID, "mode": "hard"}, nil); gone(err) {
				return err
			}
		}
		if left == 0 || sw.dry {
			break
		}
		if err := pause(ctx, shortWait); err != nil {
			return fmt.Errorf("exports do not end: %w", err)
		}
	}
	if !server {
		return nil
	}
	sw.note("server", sw.folder+"/nbd")
	if sw.dry {
		return nil
	}
	if err := sw.m.do(ctx, "nbd-server-stop", nil, nil); err != nil && !refused(err, "not running") {
		return err
	}
	return nil
}

// nodes removes ours. Those that others rest on go later, and filters go with their jobs.
func (sw *sweeping) nodes(ctx context.Context) error {
	noted := map[string]bool{}
	for {
		list, err := sw.m.nodes(ctx)
		if err != nil {
			return err
		}
		var last error
		for _, n := range list {
			if !ours(n.Name) || strings.HasPrefix(n.Name, "hf-flt-") {
				continue
			}
			if !noted[n.Name] {
				noted[n.Name] = true
				sw.note("node", n.Name)
			}
			if sw.dry {
				continue
			}
			if last = sw.m.do(ctx, "blockdev-del", object{"node-name": n.Name}, nil); gone(last) {
				return last
			}
			if last == nil {
				last = errAgain
			}
		}
		if last == nil || sw.dry {
			return nil
		}
		if err := pause(ctx, shortWait); err != nil {
			return fmt.Errorf("nodes of ours cannot be removed: %w: %w", err, last)
		}
	}
}

var errAgain = errors.New("removed, look again")
