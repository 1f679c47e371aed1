package main

import (
	"context"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/notify"
	"github.com/holdfast-backup/holdfast/daemon/strict"
)

// usualConfig is where the daemon's configuration lies unless a flag says otherwise.
const usualConfig = "/etc/holdfast/config.yaml"

// maxConfigFile is how long a configuration may be, in bytes.
const maxConfigFile = 1 << 20

func testNotifyCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "test-notify",
		Usage:       "send a message to everybody who is told of problems",
		Description: "Sends a message to every webhook and address under `notifications` in the daemon's configuration,\nand asks the heartbeat's URL, each once and at once. Exit code 1: somebody was not reached.",
		UsageText:   "holdfast test-notify\nholdfast test-notify --config /etc/holdfast/config.yaml",
		Flags:       []cli.Flag{&cli.StringFlag{Name: "config", Usage: "`FILE`: the daemon's configuration (default " + usualConfig + ")", Value: usualConfig}, jsonFlag()},
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			return testNotifications(c.Context, k, c.String("config"), c.Bool("json"))
		},
	}
}

func testNotifications(ctx context.Context, k *console, file string, asJSON bool) error {
	config, err := readNotifications(file)
	if err != nil {
		return err
	}
	n, err := notify.New(config, notify.Options{})
	if err != nil {
		return fmt.Errorf("%s: notifications: %w", file, err)
	}
	sent, failed := n.Test(ctx), 0
	for _, s := range sent {
		if s.Error != "" {
			failed++
		}
	}
	if asJSON {
		if err := k.json(sent); err != nil {
			return err
		}
	} else {
		for _, s := range sent {
			if s.Error == "" {
				s.Error = "taken"
			}
			k.printf("%s: %s\n", s.Receiver, s.Error)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d were not reached", failed, len(sent))
	}
	return nil
}

// readNotifications reads that section of the daemon's configuration.
func readNotifications(file string) (c notify.Config, err error) {
	st, err := os.Stat(file)
	if err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	if !st.Mode().IsRegular() || st.Size() > maxConfigFile {
		return c, fmt.Errorf("configuration %s: it is no file of at most %d bytes", file, maxConfigFile)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	f, err := strict.Parse(b, maxConfigFile)
	if err != nil {
		return c, fmt.Errorf("configuration %s: %w", file, err)
	}
	section := f.Take("notifications")
	if section == nil {
		return c, fmt.Errorf("configuration %s: nobody is told anything: there is no section notifications", file)
	}
	if err := section.Decode(&c); err != nil {
		return c, fmt.Errorf("configuration %s: notifications: %w", file, err)
	}
	if c.IsZero() {
		return c, fmt.Errorf("configuration %s: nobody is told anything: notifications is empty", file)
	}
	return c, nil
}
