package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// maxPreview is how many days a preview plays through.
const maxPreview = 20 * 366

func policyPreviewCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "preview",
		Usage:     "show which points there would be after some days",
		ArgsUsage: "[POLICY]",
		Description: `Plays a policy through from now on, as if every run made a good point and points were pruned each
day, and lists what is left at the end, and why. Flags change the policy for the preview alone;
without POLICY they are all of it, and no vault is needed. ` + "`holdfast prune --dry-run`" + ` says what
would become of the points that there are.`,
		UsageText: `holdfast policy preview nightly --days 400 --vault /srv/vault
holdfast policy preview --schedule 'every 4h' --keep-hourly 24 --keep-daily 14 --keep-monthly 6`,
		Flags: append(policyFlags(), &cli.IntFlag{Name: "days", Value: 400, Usage: "play `N` days (default 400)"}, jsonFlag(), localFlag()),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "[POLICY]")
			if err != nil {
				return err
			}
			if n := c.Int("days"); n < 1 || n > maxPreview {
				return usagef("--days is %d: choose 1 to %d", n, maxPreview)
			}
			p, err := policyOf(c, "preview", service.PolicyText{Timezone: hostZone(k)})
			if err == nil && args[0] != "" {
				p, err = storedPolicy(c, k, args[0])
			}
			if err != nil {
				return err
			}
			return previewPolicy(k, p, time.Now(), c.Int("days"), listing{json: c.Bool("json"), local: c.Bool("local")})
		},
	}
}

// storedPolicy is a policy of the vault, as the flags change it.
func storedPolicy(c *cli.Context, k *console, name string) (blockstore.Policy, error) {
	path, err := k.vaultPath(c)
	if err != nil {
		return blockstore.Policy{}, err
	}
	var p blockstore.Policy
	err = k.withPolicies(c.Context, path, func(book policyBook) error {
		text, err := book.text(context.WithoutCancel(c.Context), name)
		if err == nil {
			p, err = policyOf(c, name, text)
		}
		return err
	})
	return p, err
}

func previewPolicy(k *console, p blockstore.Policy, now time.Time, days int, o listing) error {
	if p.Schedule == "" {
		return usagef("the policy has no schedule, so that nothing comes of it").hinted("--schedule 'daily at 22:00' previews it with one")
	}
	a, err := service.PreviewPolicy(p, hostSeed(), now, days)
	if err != nil {
		return err
	}
	if o.json {
		return k.json(a)
	}
	k.printf("%s, %s; keep %s\n", p.Schedule, p.Zone, policy.Retention(p.Keep))
	var next []string
	for _, t := range a.NextRuns {
		next = append(next, k.moment(t.Time, o.local))
	}
	k.printf("next runs: %s\n", strings.Join(next, ", "))
	k.printf("after %s: %s, %s left, %d pruned; never more than %s at the end of a day, up to %s between two runs\n\n", count(days, "day"), count(a.Runs, "run"),
		count(len(a.Kept), "point"), a.Pruned, count(a.Most, "point"), policy.FormatSpan(time.Duration(a.Longest)*time.Second))
	return k.table(previewRows(k, a, now.AddDate(0, 0, days), o.local), 1)
}

// maxPreviewRows is how many points are listed for people.
const maxPreviewRows = 200

func previewRows(k *console, a api.PolicyPreview, end time.Time, local bool) [][]string {
	rows := [][]string{{"POINT", "AGE", "KEPT AS"}}
	for i, p := range a.Kept {
		if left := len(a.Kept) - i; left > maxPreviewRows {
			if i == 0 {
				k.say("note: the newest %d are listed; --json lists all", maxPreviewRows)
			}
			continue
		}
		rows = append(rows, []string{k.moment(p.Time.Time, local), fmt.Sprintf("%dd", int(end.Sub(p.Time.Time).Hours()/24)), strings.Join(p.Why, "; ")})
	}
	return rows
}
