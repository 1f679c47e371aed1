package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func revokeCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "revoke",
		Usage:     "take roles from somebody",
		ArgsUsage: "WHO [ROLE]",
		Description: `Ends the grants of WHO, all of them or those of a role; with --machines those that were given for
exactly these globs. A token ends with ` + "`holdfast token revoke`" + `.`,
		UsageText: "holdfast revoke anna\nholdfast revoke group:ops operator --machines 'web*'",
		Flags:     []cli.Flag{machinesFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "WHO", "[ROLE]")
			if err != nil {
				return err
			}
			globs, err := globsOf(c)
			if err != nil {
				return err
			}
			return revoke(c.Context, k, api.GrantRequest{Who: args[0], Role: args[1], Machines: globs}, c.Bool("json"))
		},
	}
}

func revoke(ctx context.Context, k *console, r api.GrantRequest, asJSON bool) error {
	return k.withAccess(ctx, func(a accessing) error {
		gone, err := a.Revoke(ctx, r)
		if err != nil {
			return err
		}
		if asJSON {
			return k.json(gone)
		}
		for _, g := range gone {
			k.printf("%s is no longer %s\n", g.Who, grantWords(g))
		}
		return nil
	})
}
