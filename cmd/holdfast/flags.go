package main

import (
	"cmp"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// Flags that several commands share.

func vaultFlag() cli.Flag {
	return &cli.StringFlag{Name: "vault", Usage: "`PATH`: the vault (default: $HOLDFAST_VAULT, else the one of the daemon of this host)"}
}

// commonFlags work on every command.
func commonFlags() []cli.Flag {
	return append([]cli.Flag{vaultFlag(), quietFlag(), verboseFlag()}, keyFlags()...)
}

func quietFlag() cli.Flag {
	return &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show no progress"}
}

func verboseFlag() cli.Flag {
	return &cli.BoolFlag{Name: "verbose", Usage: "say who does the work, this command or a daemon, also where nobody looks on"}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print the result as JSON"}
}

func localFlag() cli.Flag {
	return &cli.BoolFlag{Name: "local", Usage: "print times as the clock on the wall shows them, not in UTC (in which POINT is written)"}
}

// vaultPath says which vault is meant.
func (k *console) vaultPath(c *cli.Context) (string, error) {
	if c.IsSet("vault") && c.String("vault") == "" {
		return "", usagef("--vault is empty").hinted("give the path of the vault, or leave the flag out to use $HOLDFAST_VAULT")
	}
	path, others := k.usualVault(c.String("vault"))
	switch {
	case path != "":
		return path, nil
	case len(others) > 0:
		return "", usagef("no vault is named, and the daemon of this host has several").
			hinted("give --vault PATH, or set HOLDFAST_VAULT, for example to one of %s", strings.Join(others, ", "))
	}
	return "", usagef("no vault is named").hinted("give --vault PATH, or set HOLDFAST_VAULT")
}

// usualVault is the vault that a flag names, or the environment, or the one that the daemon of this
// host has. Where that has several, it is "", and they are returned.
func (k *console) usualVault(flag string) (path string, others []string) {
	if path = cmp.Or(flag, k.getenv("HOLDFAST_VAULT")); path != "" || k.withoutDaemon() {
		return path, nil
	}
	for _, dir := range k.runDirs() {
		for _, a := range service.Owned(dir) {
			others = append(others, a.Path)
		}
	}
	if len(others) == 1 {
		return others[0], nil
	}
	return "", others
}

// takeArgs returns the arguments, which must be as many as names; the last name may
// stand in brackets for one that may be missing, which is "" then.
func takeArgs(c *cli.Context, names ...string) ([]string, error) {
	given := c.Args().Slice()
	if len(given) > len(names) {
		return nil, usagef("unexpected argument %q", given[len(names)])
	}
	for i, name := range names {
		if i < len(given) && given[i] == "" {
			return nil, usagef("%s is empty", strings.Trim(name, "[]"))
		}
		if i >= len(given) && !strings.HasPrefix(name, "[") {
			return nil, usagef("%s is missing", name)
		}
	}
	return append(given, make([]string, len(names)-len(given))...), nil
}

// sizeOf reads a flag that is a size; fallback is its value when it is not given.
func sizeOf(c *cli.Context, name string, fallback int64) (int64, error) {
	if !c.IsSet(name) {
		return fallback, nil
	}
	n, err := parseSize(c.String(name))
	if err != nil {
		return 0, usagef("--%s: %v", name, err)
	}
	return n, nil
}

// checkMachine refuses what cannot name a machine.
func checkMachine(name string) error {
	if err := blockstore.CheckMachineName(name); err != nil {
		return usagef("%v", err)
	}
	return nil
}

// pointRef is MACHINE@POINT.
type pointRef = api.PointRef

func parsePointRef(s string) (pointRef, error) {
	for _, slash := range []string{":/", `:\`} {
		if whole, _, found := strings.Cut(s, slash); found { // no point is written so
			if !strings.Contains(whole, "@") {
				whole += "@latest"
			}
			return pointRef{}, usagef("%q names a file of a guest, and here a whole recovery point is meant", s).
				hinted("write %s; `holdfast ls %s:/` and its like are for files", whole, whole)
		}
	}
	machine, point, found := strings.Cut(s, "@")
	if err := checkMachine(machine); err != nil {
		return pointRef{}, err
	}
	if !found || point == "" {
		return pointRef{}, usagef("%q names no recovery point", s).
			hinted("write MACHINE@POINT, for example %s@latest; `holdfast points %s` lists them", machine, machine)
	}
	if len(point) > 64 {
		return pointRef{}, usagef("the point in %.40q... is too long for an id or a time", s)
	}
	return pointRef{Machine: machine, Point: point}, nil
}

// orVaultMissing makes of an error that says that there is nothing at path one
// that says that there is no vault.
func orVaultMissing(path string, err error) error { return service.OrVaultMissing(path, err) }
