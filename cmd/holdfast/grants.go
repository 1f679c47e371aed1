package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func grantsCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "grants",
		Usage:       "list who has which role",
		Description: "Lists the grants: those that the configuration gives first, which cannot be revoked.\n" + rolesText,
		UsageText:   "holdfast grants",
		Flags:       []cli.Flag{jsonFlag(), localFlag()},
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			return listGrants(c.Context, k, c.Bool("json"), c.Bool("local"))
		},
	}
}

func listGrants(ctx context.Context, k *console, asJSON, local bool) error {
	return k.withAccess(ctx, func(a accessing) error {
		list, err := a.Grants(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return k.json(list)
		}
		rows := [][]string{{"WHO", "ROLE", "MACHINES", "SINCE", "BY"}}
		for _, g := range list {
			rows = append(rows, []string{g.Who, g.Role, strings.Join(g.Machines, " "), momentOf(k, g.Since, local), dash(g.By)})
		}
		return k.table(rows)
	})
}

// momentOf writes a time that may be missing.
func momentOf(k *console, t *api.Time, local bool) string {
	if t == nil {
		return "-"
	}
	return k.moment(t.Time, local)
}
