package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/service"
)

func stateFlag() cli.Flag {
	return &cli.StringFlag{Name: "state-dir", Usage: "`DIR`: what this host remembers; else $HOLDFAST_STATE (default /var/lib/holdfast for root)"}
}

// stateDir returns the folder in which this host keeps what it remembers, and
// makes it.
func (k *console) stateDir(c *cli.Context) (string, error) {
	dir := c.String("state-dir")
	if dir == "" {
		dir = k.usualState()
	}
	if dir == "" {
		return "", usagef("there is no folder to remember in").hinted("give --state-dir DIR, or set HOLDFAST_STATE")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", service.Hinted(fmt.Errorf("make the state folder: %w", err), "give --state-dir DIR, or set HOLDFAST_STATE")
	}
	return dir, nil
}

// usualState is the folder in which this host keeps what it remembers when no
// flag names one; "" when there is none.
func (k *console) usualState() string {
	dir := k.getenv("HOLDFAST_STATE")
	if dir == "" && os.Geteuid() == 0 {
		dir = "/var/lib/holdfast"
	}
	if base := k.getenv("XDG_STATE_HOME"); dir == "" && filepath.IsAbs(base) {
		dir = filepath.Join(base, "holdfast")
	}
	if home := k.getenv("HOME"); dir == "" && filepath.IsAbs(home) {
		dir = filepath.Join(home, ".local", "state", "holdfast")
	}
	return dir
}

// knownVaults is the folder in which this host remembers the sealed vaults that
// it wrote.
func (k *console) knownVaults() string {
	state := k.usualState()
	if state == "" {
		return ""
	}
	return filepath.Join(state, "vaults")
}
