package main

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon"
	"github.com/holdfast-backup/holdfast/daemon/config"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func daemonCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "daemon",
		Usage: "protect the machines of this host by policy, until it is stopped",
		Description: `Owns the vaults that its configuration names, backs machines up when their policies say so, prunes,
sweeps and checks, and answers commands and clients: while it runs, commands that write into one of its
vaults go through it. SIGHUP has it read its configuration again; one that is wrong is refused, and the old
one goes on. SIGTERM has it end: jobs that run are waited for as long as the configuration says, then
cancelled, and guests are thawed. It is meant to be run by systemd (` + "`systemctl enable --now holdfast`" + `).

With --restart-when-idle: asks the daemon that runs to end as soon as no job, restore, loan or open file
of its mount is there, so that systemd starts the program that is installed by then; it says what is
waited for. A configuration that is wrong is refused, and the daemon goes on. With --stop-when-idle:
has it begin no more jobs, and waits until those that run are over and it has ended.`,
		UsageText: "holdfast daemon --config /etc/holdfast/config.yaml\nholdfast daemon --restart-when-idle",
		Flags: []cli.Flag{
			configFlag(),
			&cli.BoolFlag{Name: "restart-when-idle", Usage: "have the daemon that runs restarted when it is idle"},
			&cli.BoolFlag{Name: "stop-when-idle", Usage: "have the daemon that runs end after its jobs, and wait for that"},
			&cli.DurationFlag{Name: "within", Usage: "`TIME`: with --stop-when-idle, wait no longer; the daemon goes on then"},
		},
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			path := c.String("config")
			if path == "" {
				return usagef("--config is empty")
			}
			switch restart, stop := c.Bool("restart-when-idle"), c.Bool("stop-when-idle"); {
			case restart && stop:
				return usagef("--restart-when-idle and --stop-when-idle exclude each other")
			case c.IsSet("within") && (!stop || c.Duration("within") <= 0):
				return usagef("--within is a time for --stop-when-idle")
			case restart:
				return restartWhenIdle(c.Context, k, path)
			case stop:
				return stopWhenIdle(c.Context, k, path, c.Duration("within"))
			}
			return runDaemon(c.Context, k, path)
		},
	}
}

func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", Usage: "`FILE`: the configuration (default " + config.DefaultPath + ")", Value: config.DefaultPath}
}

// runDaemon is a daemon until ctx ends.
func runDaemon(ctx context.Context, k *console, path string) error {
	reload := make(chan struct{}, 1)
	defer k.onHangup(func() {
		select {
		case reload <- struct{}{}:
		default: // one that waits reads what is there by then
		}
	})()
	return ownEnd(configHint(daemon.Run(ctx, daemon.Options{
		Config: func() (config.Config, error) { return daemon.ReadConfig(path, k.getenv) },
		Reload: reload, Log: k.err, Version: thisVersion(), Tool: toolName(), Host: hostSeed(), Guard: guards(), Getenv: k.getenv, Secrets: k.guardMemory,
		Successor: successor(path),
	})))
}

// configHint says what to do where there is no configuration.
func configHint(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return service.Hinted(err, "write one: the package has an example with every key; `holdfast config check FILE` says what is wrong with it")
	}
	return err
}

func configCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "config",
		Usage:       "look at the configuration of the daemon",
		Subcommands: []*cli.Command{configCheckCommand(k), configShowCommand(k)},
	}
}

func configCheckCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "say what is wrong with a configuration",
		ArgsUsage: "[FILE]",
		Description: `Reads a configuration (default ` + config.DefaultPath + `) as the daemon does, and says with line
and key what is wrong. What it names and is not there, or may be read by others, is a warning.`,
		Flags:     []cli.Flag{configFlag()},
		UsageText: "holdfast config check\nholdfast config check ./config.yaml && systemctl reload holdfast",
		Action: func(c *cli.Context) error {
			path, conf, err := configOf(k, c)
			if err != nil {
				return err
			}
			for _, doubt := range conf.Look(k.getenv) {
				k.warn(doubt)
			}
			k.printf("%s can be used: %s, %s at a time\n", path, count(len(conf.Vaults), "vault"), count(conf.Jobs.AtOnce, "job"))
			return nil
		},
	}
}

func configShowCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "show",
		Usage:       "show what a configuration means",
		ArgsUsage:   "[FILE]",
		Description: `Prints a configuration (default ` + config.DefaultPath + `) with everything filled in that is usual.`,
		Flags:       []cli.Flag{configFlag()},
		UsageText:   "holdfast config show | grep at-once",
		Action: func(c *cli.Context) error {
			_, conf, err := configOf(k, c)
			if err != nil {
				return err
			}
			text, err := conf.Text()
			if err != nil {
				return err
			}
			k.printf("%s\n", strings.TrimSpace(string(text)))
			return nil
		},
	}
}

// configOf reads the configuration that a command is about.
func configOf(k *console, c *cli.Context) (path string, conf config.Config, err error) {
	args, err := takeArgs(c, "[FILE]")
	if err != nil {
		return "", conf, err
	}
	if path = args[0]; path == "" {
		path = c.String("config")
	} else if c.IsSet("config") {
		return "", conf, usagef("the configuration is named twice")
	}
	conf, err = daemon.ReadConfig(path, k.getenv)
	if err != nil {
		return path, conf, configHint(err)
	}
	return path, conf, nil
}
