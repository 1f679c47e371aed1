package main

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// policyFlags are what a policy says; a flag that is not given leaves that as it is.
func policyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "machines", Usage: "`GLOB`: it is for machines of such names, for example 'web*'; several by commas, or given several times"},
		&cli.StringFlag{Name: "schedule", Usage: "`WHEN`: 'daily at 22:00', 'every 4h', 'weekly on sunday at 03:00', or a cron expression; '' for never"},
		&cli.StringFlag{Name: "timezone", Usage: "`ZONE` of all times and days, for example Europe/Berlin (default: that of this host)"},
		&cli.StringFlag{Name: "window", Usage: "`FROM-TO`: back up only then, for example 22:00-06:00; '' for always"},
		&cli.StringFlag{Name: "jitter", Usage: "`TIME`: begin up to so much later, always the same on a host (default 30m)"},
		&cli.StringFlag{Name: "max-duration", Usage: "`TIME`: cancel a backup that takes longer, 0 for never"},
		&cli.IntFlag{Name: "keep-last", Usage: "keep the last `N` points"},
		&cli.IntFlag{Name: "keep-hourly", Usage: "keep the newest point of the last `N` hours that have any"},
		&cli.IntFlag{Name: "keep-daily", Usage: "... of the last `N` days that have any"},
		&cli.IntFlag{Name: "keep-weekly", Usage: "... of the last `N` weeks, which begin on Monday"},
		&cli.IntFlag{Name: "keep-monthly", Usage: "... of the last `N` months"},
		&cli.IntFlag{Name: "keep-yearly", Usage: "... of the last `N` years"},
		&cli.StringFlag{Name: "consistency", Usage: "ask for `LEVEL`, and take less for no good point: crash, filesystem or application"},
		&cli.StringFlag{Name: "otherwise", Usage: "where that is not reached, `fail` or fall-back (default)"},
		&cli.IntFlag{Name: "trash-days", Usage: "pruned points stay in the trash for `N` days; 0: as the vault says"},
		&cli.StringFlag{Name: "rpo", Usage: "`TIME`: the newest good point is never to be older, for example 26h"},
	}
}

// policyOf changes what a policy says as the flags do.
func policyOf(c *cli.Context, name string, t service.PolicyText) (blockstore.Policy, error) {
	for flag, to := range map[string]*string{"schedule": &t.Schedule, "timezone": &t.Timezone, "window": &t.Window, "max-duration": &t.MaxDuration,
		"consistency": &t.Consistency, "otherwise": &t.Otherwise, "rpo": &t.RPO} {
		if c.IsSet(flag) {
			*to = c.String(flag)
		}
	}
	for flag, to := range map[string]*int{"keep-last": &t.Keep.Last, "keep-hourly": &t.Keep.Hourly, "keep-daily": &t.Keep.Daily, "keep-weekly": &t.Keep.Weekly,
		"keep-monthly": &t.Keep.Monthly, "keep-yearly": &t.Keep.Yearly, "trash-days": &t.TrashDays} {
		if c.IsSet(flag) {
			*to = c.Int(flag)
		}
	}
	if c.IsSet("jitter") {
		jitter := c.String("jitter")
		t.Jitter = &jitter
	}
	if c.IsSet("machines") {
		t.Machines = nil
		for _, list := range c.StringSlice("machines") {
			t.Machines = append(t.Machines, slices.DeleteFunc(strings.Split(list, ","), func(s string) bool { return s == "" })...)
		}
	}
	p, err := t.Policy(name)
	var key *service.KeyError
	if errors.As(err, &key) && key.Key != "keep" && key.Key != "name" {
		return p, usagef("--%v", key)
	}
	if err != nil {
		return p, usagef("%v", err)
	}
	return p, nil
}

// hostZone is the name of this host's time zone, UTC where it has none.
func hostZone(k *console) string {
	if z := strings.TrimPrefix(k.getenv("TZ"), ":"); z != "" && !strings.HasPrefix(z, "/") {
		return z
	}
	target, err := os.Readlink("/etc/localtime")
	if _, name, ok := strings.Cut(target, "zoneinfo/"); err == nil && ok {
		return name
	}
	return "UTC"
}
