package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func pruneCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "prune",
		Usage:     "move points to the trash that policies do not keep",
		ArgsUsage: "[MACHINE...]",
		Description: `Keeps the points of each machine that its policy says, and moves the others to the trash, from where
they come back with ` + "`holdfast point undelete`" + `; a later ` + "`holdfast sweep`" + ` frees their space. --dry-run says for
each point why it is kept or goes. Always kept are the newest point, the newest good one, and locked ones.
A good point is undamaged, has the consistency that the policy asks for, and lacks no disk that was
there before (unless ` + "`holdfast protect --exclude`" + ` leaves that out). Machines whose VM is not on this
host any more are passed over. Where rules are new for a machine and take more than a fifth of its
points, nothing goes until --confirm; the exit code is 3 then.`,
		UsageText: "holdfast prune --dry-run --vault /srv/vault\nholdfast prune web1 db1 --confirm\nholdfast prune --quiet && holdfast sweep --quiet    # for cron",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "only say what would become of each point"},
			&cli.BoolFlag{Name: "confirm", Usage: "also where new rules take more than a fifth of a machine's points"},
			jsonFlag(), localFlag(),
		}, waitFlags()...),
		Action: func(c *cli.Context) error {
			for _, name := range c.Args().Slice() {
				if err := checkMachine(name); err != nil {
					return err
				}
			}
			how, err := k.listing(c)
			if err != nil {
				return err
			}
			o := pruning{how, c.Args().Slice(), c.Bool("dry-run"), c.Bool("confirm"), c.Bool("quiet")}
			if o.dry {
				return planPrune(c.Context, k, o)
			}
			return k.forgetting(c.Context, how.vault, waitOf(c), func(owner *blockstore.Owner) error { return prune(c.Context, k, owner, o) })
		},
	}
}

type pruning struct {
	listing
	names               []string // of machines; none: all
	dry, confirm, quiet bool
}

// plan finds the machines, and what is to become of their points.
func (o pruning) plan(ctx context.Context, v *blockstore.Vault, now time.Time) ([]service.PrunePlan, error) {
	var machines []blockstore.Machine
	for _, name := range o.names {
		m, err := service.FindMachine(ctx, v, name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(machines, func(n blockstore.Machine) bool { return n.ID == m.ID }) {
			machines = append(machines, m)
		}
	}
	if len(o.names) == 0 {
		var err error
		if machines, err = v.Machines(ctx); err != nil {
			return nil, fmt.Errorf("nothing was pruned, since not every machine can be read: %w", err)
		}
	}
	return service.PlanPrune(ctx, v, service.Pruning{Machines: machines, Confirm: o.confirm, Now: now})
}

func planPrune(ctx context.Context, k *console, o pruning) error {
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	plans, err := o.plan(ctx, v, time.Now())
	if err != nil {
		return err
	}
	if o.json {
		sayDoubts(k, plans)
		return k.json(describePrunes(plans, true))
	}
	rows := [][]string{{"MACHINE", "POINT", "ID", "", "WHY"}}
	for _, p := range plans {
		for i, q := range p.Points {
			what, why := "goes", slices.Clone(p.Verdicts[i].Why)
			if p.Verdicts[i].Keep {
				what = "keep"
			}
			if flaw := p.Verdicts[i].Flaw; flaw != "" {
				why = append(why, "not good: "+flaw)
			}
			when := q.Label()
			if o.local {
				when = k.moment(q.Time, true)
			}
			rows = append(rows, []string{p.Machine.Name, when, string(q.ID), what, strings.Join(why, "; ")})
		}
	}
	if err := k.table(rows); err != nil {
		return err
	}
	return sayPrunes(k, o, plans)
}

// prune moves points to the trash, if the clock is believed.
func prune(ctx context.Context, k *console, owner *blockstore.Owner, o pruning) error {
	now, err := owner.TrustedNow(ctx)
	if err != nil {
		return fmt.Errorf("nothing was pruned: %w", err)
	}
	plans, err := o.plan(ctx, owner.Vault, now)
	if err != nil {
		return err
	}
	moved, err := service.Prune(ctx, owner, plans)
	if err != nil {
		return leaving(ctx, err, fmt.Sprintf("%s moved to the trash; run it again to go on", count(moved, "point")))
	}
	if o.json {
		sayDoubts(k, plans)
		return k.json(describePrunes(plans, false))
	}
	return sayPrunes(k, o, plans)
}

func describePrunes(plans []service.PrunePlan, dry bool) []api.Prune {
	all := make([]api.Prune, 0, len(plans))
	for _, p := range plans {
		all = append(all, service.DescribePrune(p, dry))
	}
	return all
}

// sayPrunes says in a line for each machine what became of its points.
func sayPrunes(k *console, o pruning, plans []service.PrunePlan) error {
	var without []string
	for _, p := range plans {
		going := len(p.Going())
		switch {
		case p.Policy.Name == "" && !p.Doubtful:
			without = append(without, p.Machine.Name)
		case p.Passed != "" && !p.Doubtful:
			k.printf("%s: passed over, %s\n", p.Machine.Name, p.Passed)
		case p.Passed != "" || o.quiet && going == 0: // doubts are warnings
		case o.dry:
			k.printf("%s (policy %s: %s): %d of %s would go to the trash\n", p.Machine.Name, p.Policy.Name, p.Rules, going, count(len(p.Points), "point"))
		default:
			k.printf("%s (policy %s): %d of %s went to the trash\n", p.Machine.Name, p.Policy.Name, going, count(len(p.Points), "point"))
		}
	}
	if len(without) > 0 && !o.quiet {
		k.say("without a policy, so that all is kept: %s", strings.Join(without, ", "))
	}
	sayDoubts(k, plans)
	return nil
}

// sayDoubts warns of machines that somebody should look after.
func sayDoubts(k *console, plans []service.PrunePlan) {
	for _, p := range plans {
		switch {
		case p.Waits:
			k.warn(fmt.Sprintf("machine %s is passed over: %s; `holdfast prune %s --dry-run` lists them, --confirm does it", p.Machine.Name, p.Passed, p.Machine.Name))
		case p.Doubtful:
			k.warn(fmt.Sprintf("machine %s is passed over: %s", p.Machine.Name, p.Passed))
		}
	}
}
