package main

import (
	"github.com/urfave/cli/v2"
)

// listing is how a command that only looks was asked to show what it finds.
type listing struct {
	vault string // path
	json  bool
	local bool // times of the wall clock
}

// listing reads the vault and the flags of a command that only looks.
func (k *console) listing(c *cli.Context) (listing, error) {
	path, err := k.vaultPath(c)
	return listing{path, c.Bool("json"), c.Bool("local")}, err
}

// looking is listing for a command that takes these arguments, as [takeArgs] has them. A MACHINE among them can be
// the name of one.
func (k *console) looking(c *cli.Context, names ...string) (args []string, how listing, err error) {
	if args, err = takeArgs(c, names...); err != nil {
		return nil, listing{}, err
	}
	for i, name := range names {
		if name == "MACHINE" || name == "[MACHINE]" && args[i] != "" {
			if err := checkMachine(args[i]); err != nil {
				return nil, listing{}, err
			}
		}
	}
	how, err = k.listing(c)
	return args, how, err
}
