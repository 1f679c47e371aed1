package main

import (
	"context"
	"slices"
	"strings"

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
			o := pruning{listing: how, names: c.Args().Slice(), dry: c.Bool("dry-run"), confirm: c.Bool("confirm"), quiet: c.Bool("quiet")}
			u, err := k.useOf(c)
			if err != nil {
				return err
			}
			return prune(c.Context, k, u, o)
		},
	}
}

type pruning struct {
	listing
	names               []string // of machines; none: all
	dry, confirm, quiet bool
}

// prune moves points to the trash, or says which would go there.
func prune(ctx context.Context, k *console, u use, o pruning) error {
	w, err := k.operations(ctx, u)
	if err != nil {
		return err
	}
	defer w.close()
	options := api.PruneOptions{Machines: o.names, Confirm: o.confirm}
	var all []api.Prune
	if o.dry {
		all, err = w.PlanPrune(ctx, w.vault, options)
	} else {
		all, err = runJob[[]api.Prune](ctx, k, w, showing{}, api.JobRequest{Kind: api.JobPrune, Prune: &options})
	}
	if err != nil {
		return err
	}
	switch {
	case o.json:
		err = k.json(all)
	case o.dry:
		err = k.table(o.rows(k, all))
	}
	if err != nil {
		return err
	}
	if !o.json {
		sayPrunes(k, o, all)
	}
	if o.dry {
		sayDoubts(k, all)
	}
	return nil
}

// rows are a line for each point.
func (o pruning) rows(k *console, all []api.Prune) [][]string {
	rows := [][]string{{"MACHINE", "POINT", "ID", "", "WHY"}}
	for _, p := range all {
		for _, q := range p.Points {
			what, why := "goes", slices.Clone(q.Why)
			if q.Keep {
				what = "keep"
			}
			if q.Flaw != "" {
				why = append(why, "not good: "+q.Flaw)
			}
			when := q.Time.Format(blockstore.LabelLayout)
			if o.local {
				when = k.moment(q.Time.Time, true)
			}
			rows = append(rows, []string{p.Machine, when, q.ID, what, strings.Join(why, "; ")})
		}
	}
	return rows
}

// sayPrunes says in a line for each machine what became of its points.
func sayPrunes(k *console, o pruning, all []api.Prune) {
	var without []string
	for _, p := range all {
		going := 0
		for _, q := range p.Points {
			if !q.Keep {
				going++
			}
		}
		switch {
		case p.Policy == "" && !p.Doubtful:
			without = append(without, p.Machine)
		case p.Passed != "" && !p.Doubtful:
			k.printf("%s: passed over, %s\n", p.Machine, p.Passed)
		case p.Passed != "" || o.quiet && going == 0: // doubts are warnings
		case o.dry:
			k.printf("%s (policy %s: %s): %d of %s would go to the trash\n", p.Machine, p.Policy, p.Rules, going, count(len(p.Points), "point"))
		default:
			k.printf("%s (policy %s): %d of %s went to the trash\n", p.Machine, p.Policy, going, count(len(p.Points), "point"))
		}
	}
	if len(without) > 0 && !o.quiet {
		k.say("without a policy, so that all is kept: %s", strings.Join(without, ", "))
	}
}

// sayDoubts warns of machines that somebody should look after.
func sayDoubts(k *console, all []api.Prune) {
	for _, p := range all {
		if d := service.PruneDoubt(p); d != "" {
			k.warn(d)
		}
	}
}
