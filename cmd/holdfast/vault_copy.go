package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func vaultCopyCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "copy",
		Usage:     "copy points into another vault",
		ArgsUsage: "[MACHINE[@POINT]]...",
		Description: `Copies what is named, or all points, from the vault into the one that --to names: those
that it does not have yet, oldest first, each verified as it is read. Run again, it goes on
where it ended. Locks and notes are copied; points in the trash and points that were dropped there are not. A vault
made with ` + "`vault create --like`" + ` takes blocks over as they are; any other one stores them anew, so that this is
also how a vault that is not sealed becomes one that is. A sealed vault is copied into an
open one only with --to-unsealed.`,
		UsageText: `holdfast vault create /mnt/usb/vault --like /srv/vault && holdfast vault copy --vault /srv/vault --to /mnt/usb/vault
holdfast vault copy --vault /srv/vault --to /srv/sealed --to-passphrase-file FILE web1 db1@latest`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "`VAULT` to copy into"},
			&cli.StringFlag{Name: "to-passphrase-file", Usage: "`FILE`: its first line is the passphrase of that vault (default: what opens the other one)"},
			&cli.StringSliceFlag{Name: "to-identity", Usage: "`FILE`: an age identity that opens that vault"},
			&cli.BoolFlag{Name: "to-unsealed", Usage: "copy from a sealed vault into one that is not"},
			&cli.BoolFlag{Name: "policies", Usage: "copy policies too, as far as there are none of their names"},
			&cli.StringFlag{Name: "min-free", Usage: "`SIZE`: leave so much free where that vault lies, or none (default 5 %, or 20GiB if that is more)"},
			jsonFlag(),
		}, waitFlags()...),
		Action: func(c *cli.Context) error {
			o, err := vaultCopyOf(k, c)
			if err != nil {
				return err
			}
			return copyVault(c.Context, k, o)
		},
	}
}

type vaultCopy struct {
	from, to    string
	which       []string // machines and points; none: all
	keys        keyFiles // of to
	unsealed    bool
	policies    bool
	own         blockstore.OwnOptions
	json, quiet bool
}

func vaultCopyOf(k *console, c *cli.Context) (o vaultCopy, err error) {
	o = vaultCopy{to: c.String("to"), which: c.Args().Slice(), json: c.Bool("json"), quiet: c.Bool("quiet"), unsealed: c.Bool("to-unsealed"), policies: c.Bool("policies")}
	o.keys = keyFiles{c.String("to-passphrase-file"), c.StringSlice("to-identity")}
	if o.from, err = k.vaultPath(c); err != nil {
		return o, err
	}
	switch {
	case o.to == "":
		return o, usagef("where to copy to is missing").hinted("give --to VAULT; a new one is made with `holdfast vault create PATH --like %s`", o.from)
	case o.unsealed && o.keys.given():
		return o, usagef("--to-unsealed, and a key for that vault: which is it?")
	}
	for _, w := range o.which {
		if strings.Contains(w, "@") {
			_, err = parsePointRef(w)
		} else {
			err = checkMachine(w)
		}
		if err != nil {
			return o, err
		}
	}
	o.own, err = ownOptionsOf(k, c)
	return o, err
}

// toUnlocker returns what opens the vault that is copied into: keys of its own,
// or those of the other one, which a vault like it has.
func (o *vaultCopy) toUnlocker(ctx context.Context, k *console, src *blockstore.Vault, like *blockstore.Unlocker) (*blockstore.Unlocker, error) {
	switch {
	case o.keys.given():
		u, err := k.unlocker(ctx, o.keys)
		return u, err
	case o.unsealed:
		return nil, nil
	case src.Info().Sealed:
		return like, nil
	}
	u := &blockstore.Unlocker{}
	if k.ask != nil {
		u.Ask = func() (string, error) { return k.askSecret(ctx, "passphrase of the vault that is copied into: ") }
	}
	return u, nil
}

// copyVault copies points and prints what became of them.
func copyVault(ctx context.Context, k *console, o vaultCopy) error {
	src, err := openVault(ctx, k, o.from)
	if err != nil {
		return err
	}
	defer src.Close()
	points, unread, err := chosen(ctx, src, o.which)
	if err != nil {
		return err
	}
	if o.own.Unlock, err = o.toUnlocker(ctx, k, src, o.own.Unlock); err != nil {
		return err
	}
	giveBack, err := k.borrow(ctx, o.to, o.own.Wait)
	if err != nil {
		return err
	}
	defer giveBack()
	dst, err := blockstore.Own(ctx, o.to, o.own)
	if err != nil {
		return leaving(ctx, orUnreachable(o.to, err), "nothing was copied")
	}
	began := time.Now()
	var r blockstore.CopyReport
	if src.Info().Sealed && !dst.Info().Sealed && !o.unsealed {
		err = service.Hinted(fmt.Errorf("vault %s is sealed and %s is not: what is copied would lie there for everybody to read", o.from, o.to),
			"add --to-unsealed if that is meant")
	} else {
		err = k.measure("copy", true, o.quiet, func(set func(done, total int64)) (err error) {
			r, err = dst.CopyFrom(ctx, src, points, func(_ *blockstore.Point, done, total int64) { set(done, total) })
			return err
		})
	}
	if err == nil && o.policies {
		_, err = dst.CopyPolicies(ctx, src)
	}
	err = leaving(ctx, err, fmt.Sprintf("%d points were copied whole; run it again to go on", len(r.Copied)))
	if closed := dst.Close(); err == nil {
		err = closed
	}
	return errors.Join(reportCopy(k, o, r, time.Since(began), err), unread)
}

// chosen returns the points of a vault that are named, all where none is.
// Unread is what could not be read beside them.
func chosen(ctx context.Context, v *blockstore.Vault, which []string) (points []*blockstore.Point, unread, err error) {
	all, unread := v.Points(ctx)
	if len(which) == 0 {
		return all, unread, nil
	}
	want := map[blockstore.PointID]bool{}
	for _, w := range which {
		machine, point, one := strings.Cut(w, "@")
		of, err := service.PointsNamed(all, machine)
		if err != nil {
			return nil, nil, errors.Join(err, unread)
		}
		if one {
			p, err := service.FindPoint(ctx, v, pointRef{Machine: machine, Point: point})
			if err != nil {
				return nil, nil, err
			}
			of = []*blockstore.Point{p}
		}
		for _, p := range of {
			want[p.ID] = true
		}
	}
	for _, p := range all {
		if want[p.ID] {
			points = append(points, p)
		}
	}
	return points, nil, nil
}

func reportCopy(k *console, o vaultCopy, r blockstore.CopyReport, took time.Duration, failed error) error {
	var damaged error
	for _, d := range r.Damaged {
		k.say("not copied: %v", d)
	}
	if len(r.Damaged) > 0 {
		damaged = service.Hinted(&damagedError{fmt.Sprintf("%d points are damaged and were not copied", len(r.Damaged))},
			"`holdfast check --data` says what else is; a backup of the machine stores again what it still holds")
	}
	switch {
	case o.json:
		c := api.Copy{Copied: service.DescribePoints(r.Copied), Present: r.Present, Forgotten: r.Forgotten, Damaged: []api.Harm{}, Seconds: took.Seconds()}
		for _, d := range r.Damaged {
			c.Damaged = append(c.Damaged, api.Harm{Machine: d.Machine, Point: string(d.Point), Disk: d.Disk, Offset: d.Offset, Length: d.Length})
		}
		return errors.Join(damaged, failed, k.json(c))
	case failed == nil || len(r.Copied) > 0:
		var stored int64
		for _, p := range r.Copied {
			stored += p.Sizes.Stored
		}
		k.printf("copied %s into %s, %s stored, in %s; %d were there\n", count(len(r.Copied), "point"), o.to, formatSize(stored), took.Round(100*time.Millisecond), r.Present)
		if r.Forgotten > 0 {
			k.printf("%d were dropped there before, and were not copied again\n", r.Forgotten)
		}
	}
	return errors.Join(damaged, failed)
}
