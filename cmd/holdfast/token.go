package main

import (
	"context"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func tokenCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "token",
		Usage:       "let programs reach the daemon over the network",
		Subcommands: []*cli.Command{tokenCreateCommand(k), tokenListCommand(k), tokenRevokeCommand(k)},
	}
}

func tokenCreateCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "create",
		Usage:     "make a token",
		ArgsUsage: "NAME",
		Description: `Makes a token with a role and prints its secret, this once: the daemon keeps a hash alone. A program sends it
as "Authorization: Bearer SECRET", over TLS.
` + rolesText,
		UsageText: "holdfast token create grafana --role viewer\nholdfast token create helpdesk --role restorer --machines 'web*' --expires 90d",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "role", Usage: "`ROLE`: viewer, restorer, operator or admin"}, machinesFlag(),
			&cli.StringFlag{Name: "expires", Usage: "`DATE`: 2033-12-31 (its end, UTC), 2033-12-31T18:00:00Z, or from now 36h, 90d, 52w, 10y (default: never)"}, jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "NAME")
			if err != nil {
				return err
			}
			if c.String("role") == "" {
				return usagef("--role is missing").hinted("viewer, restorer, operator or admin")
			}
			r := api.TokenRequest{Name: args[0], Role: c.String("role")}
			if r.Machines, err = globsOf(c); err != nil {
				return err
			}
			if c.IsSet("expires") {
				until, err := readUntil(c.String("expires"), time.Now())
				if err != nil {
					return usagef("--expires %.40q is no date and no time from now", c.String("expires")).hinted("for example --expires 90d or --expires 2033-12-31")
				}
				at := api.At(until)
				r.Expires = &at
			}
			return createToken(c.Context, k, r, c.Bool("json"))
		},
	}
}

func createToken(ctx context.Context, k *console, r api.TokenRequest, asJSON bool) error {
	return k.withAccess(ctx, func(a accessing) error {
		t, err := a.CreateToken(ctx, r)
		if err != nil {
			return err
		}
		if asJSON {
			return k.json(t)
		}
		k.printf("%s\n", t.Secret)
		expires := "does not expire"
		if t.Expires != nil {
			expires = "expires " + k.moment(t.Expires.Time, false)
		}
		k.say("note: token %s %s; it is shown this once, keep it where only its program reads it", t.Name, expires)
		return nil
	})
}

func tokenListCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "list",
		Usage:       "list the tokens",
		Description: "Lists the tokens, with what each may and when and from where it was last used.",
		UsageText:   "holdfast token list",
		Flags:       []cli.Flag{jsonFlag(), localFlag()},
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			return listTokens(c.Context, k, c.Bool("json"), c.Bool("local"))
		},
	}
}

func listTokens(ctx context.Context, k *console, asJSON, local bool) error {
	return k.withAccess(ctx, func(a accessing) error {
		list, err := a.Tokens(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return k.json(list)
		}
		rows := [][]string{{"NAME", "MAY", "CREATED", "EXPIRES", "LAST USED", "FROM"}}
		for _, t := range list {
			var may []string
			for _, g := range t.Grants {
				may = append(may, grantWords(g))
			}
			expires := momentOf(k, t.Expires, local)
			if t.Expired {
				expires += " (expired)"
			}
			rows = append(rows, []string{t.Name, dash(strings.Join(may, "; ")), k.moment(t.Created.Time, local), expires, momentOf(k, t.LastUsed, local), dash(t.LastFrom)})
		}
		return k.table(rows)
	})
}

func tokenRevokeCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "revoke",
		Usage:       "end a token",
		ArgsUsage:   "NAME",
		Description: "Ends a token and what was granted to it, at once.",
		UsageText:   "holdfast token revoke grafana",
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "NAME")
			if err != nil {
				return err
			}
			return k.withAccess(c.Context, func(a accessing) error {
				if err := a.RevokeToken(c.Context, args[0]); err != nil {
					return err
				}
				k.printf("token %s is revoked\n", args[0])
				return nil
			})
		},
	}
}
