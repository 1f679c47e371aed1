package main

import (
	"context"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func auditCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "audit",
		Usage: "show who changed what through the daemon",
		Description: `Shows the audit log of the daemon, oldest first: each change that somebody asked for, each reading of a
disk, and what was refused to whom. What a schedule does is in ` + "`holdfast jobs`" + `.`,
		UsageText: "holdfast audit --since 7d\nholdfast audit --json | jq -r '.[] | select(.outcome == \"refused\") | .who'",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "since", Usage: "`TIME`: 2026-11-22, 2026-11-22T18:00:00Z, or how long ago: 36h, 7d"},
			&cli.IntFlag{Name: "limit", Usage: "show the newest `N` at most (default 1000, at most 10000)"},
			jsonFlag(), localFlag(),
		},
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			q := api.AuditQuery{Limit: c.Int("limit")}
			if c.IsSet("limit") && (q.Limit <= 0 || q.Limit > 10000) {
				return usagef("--limit is %d: choose 1 to 10000", q.Limit)
			}
			var err error
			if q.Since, err = ago("since", c.String("since"), time.Now()); err != nil {
				return err
			}
			return showAudit(c.Context, k, q, c.Bool("json"), c.Bool("local"))
		},
	}
}

func showAudit(ctx context.Context, k *console, q api.AuditQuery, asJSON, local bool) error {
	return k.withAccess(ctx, func(a accessing) error {
		list, err := a.Audit(ctx, q)
		if err != nil {
			return err
		}
		if asJSON {
			return k.json(list)
		}
		rows := [][]string{{"TIME", "WHO", "DID", "ON", "OUTCOME", "WHY", "FOR, AS THE CLIENT SAID"}}
		for _, e := range list {
			on := strings.Join(strings.Fields(e.Vault+" "+e.Machine+" "+e.Object), " ")
			rows = append(rows, []string{k.moment(e.Time.Time, local), e.Who, e.Action, dash(on), e.Outcome, e.Detail, e.Said})
		}
		return k.table(rows)
	})
}
