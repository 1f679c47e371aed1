package main

import (
	"context"
	"fmt"
	"os/user"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

const rolesText = `Roles, each with what those before it may: viewer (what there is and how it stands; no names of files, no
contents), restorer (names of files, contents, restores), operator (backups, checks, mounts, holds, notes), admin
(protection, policies, deleting, locks, tokens). Root and the daemon's own user are admins.`

func grantCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "grant",
		Usage:     "give somebody a role for machines",
		ArgsUsage: "WHO ROLE",
		Description: `Gives a role to WHO: a user of the daemon's host by name or number, group:NAME, or token:NAME.
What belongs to no machine, as policies and sweeps, takes a grant for all machines.
` + rolesText,
		UsageText: "holdfast grant anna restorer --machines 'web*'\nholdfast grant group:ops operator\nholdfast grants",
		Flags:     []cli.Flag{machinesFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "WHO", "ROLE")
			if err != nil {
				return err
			}
			globs, err := globsOf(c)
			if err != nil {
				return err
			}
			return grant(c.Context, k, api.GrantRequest{Who: args[0], Role: args[1], Machines: globs}, c.Bool("json"))
		},
	}
}

func grant(ctx context.Context, k *console, r api.GrantRequest, asJSON bool) error {
	return k.withAccess(ctx, func(a accessing) error {
		g, err := a.Grant(ctx, r)
		if err != nil {
			return err
		}
		if asJSON {
			return k.json(g)
		}
		k.printf("%s is %s\n", g.Who, grantWords(g))
		if why := unknownWho(g.Who); why != "" {
			k.say("note: %s", why)
		}
		return nil
	})
}

// unknownWho says why somebody to whom something was granted by name is nobody so far. The daemon
// knows the names that are in this host's files.
func unknownWho(who string) string {
	if _, err := strconv.ParseUint(who, 10, 32); err == nil || strings.HasPrefix(who, "token:") {
		return ""
	}
	if name, ok := strings.CutPrefix(who, "group:"); ok {
		if _, err := user.LookupGroup(name); err != nil {
			return fmt.Sprintf("there is no group %s in /etc/group: one of a directory (LDAP) is granted to by its number, `getent group %s` tells it", name, name)
		}
		return ""
	}
	if _, err := user.Lookup(who); err != nil {
		return fmt.Sprintf("there is no user %s in /etc/passwd: one of a directory (LDAP) is granted to by number, `id -u %s` tells it", who, who)
	}
	return ""
}
