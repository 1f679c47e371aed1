package main

import (
	"context"
	"encoding/base64"
	"errors"
	"time"

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
	passphrases, files, err := k.guestSecrets(c)
	if err != nil {
		return err
	}
	given := len(passphrases)+len(files) > 0
	if w := k.reader(c.Context, path); w != nil {
		defer w.close()
		t, ok := w.Operations.(api.Timeline)
		if !ok {
			return usagef("this daemon tells nothing of files over several points")
		}
		if given {
			unlocker, ok := w.Operations.(unlocker)
			if !ok {
				return usagef("this daemon opens no encrypted volumes")
			}
			t = &unlockedTimeline{t, unlocker, guestKeysOf(passphrases, files)}
		}
		return do(t, w.vault)
	}
	v, err := openVault(c.Context, k, path)
	if err != nil {
		return err
	}
	defer v.Close()
	asker := &guests{ctx: c.Context, k: k, open: map[pointRef]*guestfs.Guest{}, given: given}
	if given {
		asker.keys = guestfs.NewKeys(append(passphrases, files...)...)
	}
	return do(&ownTimeline{v, asker, machine}, "")
}

// unlocker opens encrypted volumes of guests for this user, and closes them.
type unlocker interface {
	UnlockGuest(ctx context.Context, at api.GuestAt, keys api.GuestKeys) (api.GuestVolumes, error)
	LockGuest(ctx context.Context, at api.GuestAt) error
}

// unlockedTimeline has a daemon open encrypted volumes for as long as it answers.
type unlockedTimeline struct {
	api.Timeline
	u    unlocker
	keys api.GuestKeys
}

func guestKeysOf(passphrases, files [][]byte) (keys api.GuestKeys) {
	for _, p := range passphrases {
		keys.Passphrases = append(keys.Passphrases, string(p))
	}
	for _, f := range files {
		keys.KeyFiles = append(keys.KeyFiles, base64.StdEncoding.EncodeToString(f))
	}
	return keys
}

// with does something while what the keys open at some points is open. Where nothing waits for keys
// they are not needed.
func (t *unlockedTimeline) with(ctx context.Context, do func() error, points ...api.GuestAt) (err error) {
	for _, at := range points {
		at.Volume, at.Path = "", ""
		switch _, unlockErr := t.u.UnlockGuest(ctx, at, t.keys); {
		case unlockErr == nil:
		case service.Explain(unlockErr).Exit == exitUsage: // nothing waits there, or it is open already
			continue
		default:
			return unlockErr
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			err = errors.Join(err, t.u.LockGuest(ctx, at))
		}()
	}
	return do()
}

// GuestHistory is part of api.Timeline.
func (t *unlockedTimeline) GuestHistory(ctx context.Context, q api.HistoryQuery, progress func(done, total int64)) (h api.FileHistory, err error) {
	err = t.with(ctx, func() (err error) {
		h, err = t.Timeline.GuestHistory(ctx, q, progress)
		return err
	}, api.GuestAt{Vault: q.Vault, PointRef: api.PointRef{Machine: q.Machine, Point: "latest"}})
	return h, err
}

// GuestDiff is part of api.Timeline.
func (t *unlockedTimeline) GuestDiff(ctx context.Context, q api.DiffQuery, fn func(api.FileDiff) error, progress func(done int64)) (d api.FilesDiff, err error) {
	err = t.with(ctx, func() (err error) {
		d, err = t.Timeline.GuestDiff(ctx, q, fn, progress)
		return err
	}, q.A, q.B)
	return d, err
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
