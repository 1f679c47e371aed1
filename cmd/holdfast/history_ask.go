package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// withTimeline calls do with who answers questions about files over several points: this process, with
// the vault that the command line names open, or a daemon where this user may not open it. vault is how
// to name the vault to it.
func withTimeline(c *cli.Context, k *console, machine string, do func(t api.Timeline, vault string) error) error {
	path, err := k.vaultPath(c)
	if err != nil {
		return err
	}
	keys, err := k.guestKeys(c)
	if err != nil {
		return err
	}
	if w := k.reader(c.Context, path); w != nil {
		defer w.close()
		t, ok := w.Operations.(api.Timeline)
		switch {
		case !ok:
			return usagef("this daemon tells nothing of files over several points")
		case keys != nil:
			return usagef("keys of guests stay in this process").hinted("what a daemon reads for you, it reads without them; whoever may open the vault can give them")
		}
		return do(t, w.vault)
	}
	v, err := openVault(c.Context, k, path)
	if err != nil {
		return err
	}
	defer v.Close()
	asker := &guests{ctx: c.Context, k: k, open: map[pointRef]*guestfs.Guest{}, keys: keys, given: keys != nil}
	return do(&ownTimeline{v, asker, machine}, "")
}

// ownTimeline answers in this process. Whoever sits at the terminal is asked for passphrases of guests.
type ownTimeline struct {
	v       *blockstore.Vault
	asker   *guests
	machine string // whose passphrases they are
}

// GuestHistory is part of api.Timeline.
func (t *ownTimeline) GuestHistory(ctx context.Context, q api.HistoryQuery, progress func(done, total int64)) (h api.FileHistory, err error) {
	err = t.asker.unlocked(ctx, pointRef{Machine: t.machine}, func() (err error) {
		h, err = service.HistoryOf(ctx, t.v, q, t.asker.keys, progress)
		return err
	})
	return h, err
}

// GuestDiff is part of api.Timeline. A volume that is locked is met before anything is told.
func (t *ownTimeline) GuestDiff(ctx context.Context, q api.DiffQuery, fn func(api.FileDiff) error, progress func(done int64)) (d api.FilesDiff, err error) {
	err = t.asker.unlocked(ctx, q.B.PointRef, func() (err error) {
		d, err = service.DiffOf(ctx, t.v, q, t.asker.keys, fn, progress)
		return err
	})
	return d, err
}
