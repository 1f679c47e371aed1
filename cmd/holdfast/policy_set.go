package main

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func policySetCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "set",
		Usage:     "make a policy, or change what it says",
		ArgsUsage: "NAME",
		Description: `Makes a policy, or changes one: what no flag says stays. It is for the machines whose names match its
globs, also for those that come later; the one that says most of a name wins, a name alone over all
globs. Retention counts hours, days, weeks, months and years that have points, never age: where no
new points are made, none go. Without --keep all are kept. ` + "`holdfast policy preview`" + ` shows
what it leads to; ` + "`holdfast prune`" + ` does it.`,
		UsageText: `holdfast policy set nightly --machines '*' --schedule 'daily at 22:00' --keep-daily 7 --keep-weekly 4 --keep-monthly 6
holdfast policy set databases --machines 'db*' --schedule 'every 4h' --keep-last 12 --keep-daily 30 --rpo 6h
holdfast policy set nightly --keep-yearly 2 --timezone Europe/Berlin`,
		Flags: append(policyFlags(), waitFlags()...),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "NAME")
			if err != nil {
				return err
			}
			first := service.PolicyText{Timezone: hostZone(k)}
			if _, err := policyOf(c, args[0], first); err != nil {
				return err
			}
			path, err := k.vaultPath(c)
			if err != nil {
				return err
			}
			return k.withPolicies(c.Context, path, func(book policyBook) error {
				return k.changing(c, func(w *worker) error {
					return setPolicy(c.Context, k, w, book, first, func(t service.PolicyText) (blockstore.Policy, error) { return policyOf(c, args[0], t) })
				})
			})
		},
	}
}

// setPolicy makes a policy of what is there, or of first, and what change makes of that.
func setPolicy(ctx context.Context, k *console, w *worker, book policyBook, first service.PolicyText, change func(service.PolicyText) (blockstore.Policy, error)) error {
	p, err := change(first)
	if err != nil {
		return err
	}
	old, err := book.text(ctx, p.Name)
	isNew := isNotFound(err)
	switch {
	case err == nil:
		if p, err = change(old); err != nil {
			return err
		}
	case !isNew:
		return err
	}
	if _, err := w.SetPolicies(ctx, w.vault, api.PoliciesRequest{Policies: []api.PolicySpec{service.SpecOf(p)}}); err != nil {
		return err
	}
	if isNew {
		k.printf("policy %s is made\n", p.Name)
	} else {
		k.printf("policy %s is changed\n", p.Name)
	}
	return showSet(ctx, k, book, p)
}

// showSet shows a policy that was made or changed, and what a person may have overlooked.
func showSet(ctx context.Context, k *console, book policyBook, p blockstore.Policy) (err error) {
	all, doubts, unread := book.all(ctx)
	for _, a := range all {
		if a.Name == p.Name {
			err = k.table(policyRows(k, a, false))
		}
	}
	if len(p.Machines) == 0 && p.Tag == "" {
		k.say("note: it is for no machine yet; --machines says for which")
	}
	if policy.Retention(p.Keep).IsZero() {
		k.say("note: all points are kept; --keep-daily 7, for example, keeps one of each of seven days")
	}
	if t, e := service.Timetable(p, hostSeed()); e == nil && p.RPO > 0 {
		if s := policy.Simulate(t, policy.Rules{Retention: policy.Retention{Last: 1}}, time.Now(), 60); s.Longest > time.Duration(p.RPO)*time.Second {
			k.say("note: there are up to %s between two runs, more than its RPO", policy.FormatSpan(s.Longest))
		}
	}
	for _, d := range doubts {
		k.say("%s", d)
	}
	return errors.Join(err, unread)
}
