package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

const (
	stormMachines = 200
	stormDisk     = 1 << 30 // bytes of each, most of them holes
	stormPieces   = 6       // of 1 MiB, in each
	stormChanged  = 2       // of those, in every second machine
	stormPatience = 10 * time.Minute
)

func stormName(n int) string { return fmt.Sprintf("vm%03d", n) }

// storm has all machines of a policy due at once, twice: when the daemon begins, since all are owed a run,
// and on a minute that comes. Meanwhile somebody asks for all that the interface tells.
func (b *bench) storm(ctx context.Context) (err error) {
	const group = "daemon: 200 machines due at once"
	v, err := b.newVault(ctx, "storm")
	if err != nil {
		return err
	}
	images := filepath.Join(b.store, "storm.images")
	defer func() { err = errors.Join(err, removeAll(v.path, images)) }()
	b.say("making %d images", stormMachines)
	if err := makeStorm(ctx, v.path, images); err != nil {
		return fmt.Errorf("make the machines: %w", err)
	}
	h, err := b.newHost(v, "jobs: {at-once: 4}\n")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.remove()) }()
	c, err := h.client()
	if err != nil {
		return err
	}
	if _, err := h.begin(ctx); err != nil {
		return err
	}
	asked := newQuestions(c, v.path)
	var g errgroup.Group
	asking, enough := context.WithCancel(ctx)
	g.Go(func() error { return asked.run(asking) })
	err = b.stormRounds(ctx, group, h, c, images)
	enough()
	if err = errors.Join(err, g.Wait()); err != nil {
		return err
	}
	if err := statusAlone(ctx, c, &b.table, group); err != nil {
		return err
	}
	anon, err := h.end()
	if err != nil {
		return err
	}
	b.table.alone(group, "the daemon, peak RssAnon", "MiB", inMiB(anon), atMost(384))
	asked.figures(&b.table, group)
	_, err = v.run(ctx, "check")
	return err
}

// stormRounds waits for both rounds, and counts what was missed and what was done twice by the points.
func (b *bench) stormRounds(ctx context.Context, group string, h *host, c *api.Client, images string) error {
	for round := 1; round <= 2; round++ {
		began := time.Now()
		if round == 2 {
			if err := changeImages(images); err != nil {
				return err
			}
			began = time.Now().UTC().Truncate(time.Minute).Add(time.Minute)
			if time.Until(began) < 5*time.Second {
				began = began.Add(time.Minute)
			}
			if _, err := measure(ctx, h.command("policy", "set", "all", "--schedule", "daily at "+began.Format("15:04"), "--timezone", "UTC", "--quiet")); err != nil {
				return err
			}
		}
		if err := b.stormOver(ctx, c, round); err != nil {
			return err
		}
		took := time.Since(began).Seconds()
		if err := settle(ctx, c); err != nil {
			return err
		}
		missed, twice, err := stormCount(ctx, c, h.v.path, round)
		if err != nil {
			return err
		}
		what := []string{"at its start", "on the minute"}[round-1]
		b.table.alone(group, what+", all", "s", took, noTarget)
		b.table.alone(group, what+", runs missed", "", missed, none)
		b.table.alone(group, what+", runs twice", "", twice, none)
	}
	return nil
}

// none asks for nothing of a kind.
var none = atMost(0.5)

// stormOver waits until so many runs of each machine are over.
func (b *bench) stormOver(ctx context.Context, c *api.Client, round int) error {
	told := 0
	for end := time.Now().Add(stormPatience); time.Now().Before(end); {
		over, failed := 0, 0
		list, err := c.Jobs(ctx, api.JobQuery{Kind: api.JobBackup, Limit: 10 * stormMachines})
		if err != nil {
			return err
		}
		for _, j := range list {
			if j.Over() {
				over++
			}
			if j.State == api.JobFailed {
				failed++
				b.say("storm: %s: %v", j.Machine, j.Error)
			}
		}
		if failed > 0 {
			return fmt.Errorf("%d runs failed", failed)
		}
		if over/50 != told {
			told = over / 50
			b.say("storm: %d runs", over)
		}
		if over >= round*stormMachines {
			return nil
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("not over after %v", stormPatience)
}

// settle waits a little for runs that nobody expects, and for what runs.
func settle(ctx context.Context, c *api.Client) error {
	for range 600 {
		if err := pause(ctx, 3*time.Second); err != nil {
			return err
		}
		list, err := c.Jobs(ctx, api.JobQuery{Limit: 10 * stormMachines})
		if err != nil || !slices.ContainsFunc(list, func(j api.Job) bool { return !j.Over() }) {
			return err
		}
	}
	return errors.New("jobs go on")
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// stormCount tells by the points how many runs are missing, and how many are too many.
func stormCount(ctx context.Context, c *api.Client, vault string, round int) (missed, twice float64, err error) {
	points, err := c.Points(ctx, vault, "")
	if err != nil {
		return 0, 0, err
	}
	of := map[string]int{}
	for _, p := range points {
		of[p.Machine]++
	}
	for n := range stormMachines {
		have := of[stormName(n)]
		missed += float64(max(0, round-have))
		twice += float64(max(0, have-round))
	}
	return missed, twice, nil
}

// makeStorm makes images and machines, and the policy, an hour ago: a run of each is owed.
func makeStorm(ctx context.Context, vault, images string) (err error) {
	if err := os.MkdirAll(images, 0o700); err != nil {
		return err
	}
	ago := func() time.Time { return time.Now().Add(-time.Hour) }
	o, err := blockstore.Own(ctx, vault, blockstore.OwnOptions{MinFree: -1, Clock: ago})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	for n := range stormMachines {
		image := filepath.Join(images, stormName(n))
		if err := writePieces(image, n, 0, stormPieces); err != nil {
			return err
		}
		_, err := o.Protect(ctx, stormName(n), blockstore.Protection{Since: ago(), Consistency: blockstore.Crash, VM: blockstore.VM{Kind: blockstore.KindImages},
			Images: []blockstore.ImageDisk{{Name: "vda", Path: image, Format: "raw"}}})
		if err != nil {
			return err
		}
	}
	due := time.Now().UTC().Add(-30 * time.Minute)
	_, err = o.SetPolicy(ctx, blockstore.Policy{Name: "all", Machines: []string{"*"}, Schedule: "daily at " + due.Format("15:04"), Zone: "UTC",
		Keep: blockstore.Keep{Last: 30, Daily: 30}, RPO: 26 * 3600})
	return err
}

// changeImages writes some pieces of every second machine again.
func changeImages(images string) error {
	for n := 0; n < stormMachines; n += 2 {
		if err := writePieces(filepath.Join(images, stormName(n)), n, 1, stormChanged); err != nil {
			return err
		}
	}
	return nil
}

// writePieces writes pieces of an image that come back in no other round or machine.
func writePieces(image string, n, round, pieces int) error {
	f, err := os.OpenFile(image, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(stormDisk); err != nil {
		return err
	}
	seed := [32]byte{byte(n), byte(n >> 8), byte(round)}
	random, piece := rand.NewChaCha8(seed), make([]byte, 1<<20)
	for i := range pieces {
		random.Read(piece)
		if _, err := f.WriteAt(piece, int64(i)*stormDisk/stormPieces); err != nil {
			return err
		}
	}
	return f.Close()
}
