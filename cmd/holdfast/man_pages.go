package main

import (
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/config"
)

// programPage writes holdfast(1): every command with all that its help says.
func programPage(w io.Writer, app *cli.App) {
	p := newPage(w, "holdfast", 1, app.Usage)
	p.section("SYNOPSIS")
	p.text("holdfast COMMAND [ARGUMENTS] [--flags]")
	p.section("DESCRIPTION")
	p.text(`Holdfast backs up the virtual machines of KVM/QEMU hosts and gives them back: a file, a disk, a machine, or all of them after the host is gone. It stores
only the blocks that changed, and shows every recovery point as a read-only folder.`)
	p.lines(strings.TrimPrefix(tour, "A tour:\n"))
	p.text(`POINT is latest, a point's id (it begins with p), a time such as 2026-11-22T22-00-05Z, or the beginning of either. Flags may stand before and after the
arguments; -- ends them.`)
	p.section("FLAGS OF EVERY COMMAND")
	p.flags(append(append([]cli.Flag{}, app.Flags...), helpFlag()))
	category := ""
	for _, c := range app.Commands {
		if c.Hidden {
			continue
		}
		if c.Category != category {
			category = c.Category
			p.section("COMMANDS: " + strings.ToUpper(category))
		}
		p.command(app, c, "")
	}
	p.section("EXIT STATUS")
	p.text(`0 done, 1 failed, 2 usage, 3 done with warnings, 4 damaged data, 5 vault, machine or target busy, 6 not found, 7 vault full, 8 refused by a lock, role or
missing key, 130 interrupted.`)
	p.section("ENVIRONMENT")
	p.item("HOLDFAST_VAULT", "the vault, where --vault does not name one; without both, that of the daemon of this host, if it has one alone")
	p.item("HOLDFAST_DAEMON", "off: go without the daemon that owns the vault")
	p.item("HOLDFAST_RUN", "folder of the daemon's socket, otherwise /run/holdfast")
	p.item("HOLDFAST_STATE", "folder of what this host remembers, otherwise /var/lib/holdfast")
	p.section("FILES")
	p.item(config.DefaultPath, "configuration of the daemon, see holdfast.yaml(5)")
	p.item("/var/lib/holdfast", "what this host remembers: jobs, tokens, who did what, guests that are frozen")
	p.item("/run/holdfast/api.sock", "where the daemon answers")
	p.item("/usr/share/holdfast", "alert rules for Prometheus and a dashboard for Grafana")
	p.section("SEE ALSO")
	p.text("holdfast.yaml(5), qemu-img(1), virsh(1), systemctl(1)")
}

// command writes a command and those below it. Flags that are of every command are left out.
func (p page) command(app *cli.App, c *cli.Command, above string) {
	name := above + c.Name
	for _, sub := range c.Subcommands {
		p.command(app, sub, name+" ")
	}
	if len(c.Subcommands) > 0 || c.Hidden {
		return
	}
	p.part(strings.TrimSpace("holdfast " + name + " " + c.ArgsUsage))
	p.text(strings.ToUpper(c.Usage[:1]) + c.Usage[1:] + ".")
	if c.Description != "" {
		p.text(c.Description)
	}
	var own []cli.Flag
	for _, f := range c.Flags {
		if findFlag(app.Flags, f.Names()[0]) == nil {
			own = append(own, f)
		}
	}
	p.flags(own)
	if c.UsageText != "" {
		p.text("Examples:")
		p.lines(c.UsageText)
	}
}

// configPage writes holdfast.yaml(5) around an example that has every key.
func configPage(w io.Writer, example string) {
	p := newPage(w, "holdfast.yaml", 5, "configuration of Holdfast's daemon")
	p.section("DESCRIPTION")
	p.text(`The daemon, holdfast daemon, reads ` + config.DefaultPath + ` when it starts and when it is reloaded (systemctl reload holdfast, SIGHUP). It is YAML. Keys that are not
known, and values that mean nothing, are errors that name line and key: a daemon does not start with them, and one that runs goes on as before.

"holdfast config check" says what is wrong; "holdfast config show" prints a configuration with all that is usual filled in. What the daemon backs up, when, and what
it keeps, is not said here but by policies, which lie in the vault: see "holdfast policy set" in holdfast(1).

Sizes are written 512MiB, 20GiB; times 30s, 1m, 90d; schedules as in policies: daily at 02:30, weekly on sunday at 03:00, never.

vaults, jobs (without read-depth), mount and log.level count when the daemon is reloaded, the rest after a restart only, as its log says; "holdfast daemon --restart-when-idle" waits for its moment.`)
	p.section("EXAMPLE WITH EVERY KEY")
	p.text("What is commented out and has a value is what is usual, or an example.")
	p.lines(example)
	p.section("FILES")
	p.item(config.DefaultPath, "readable by root and group holdfast; passphrases and identities lie in files of their own, which only root may read")
	p.section("SEE ALSO")
	p.text("holdfast(1), systemd.exec(5) on LoadCredential=")
}
