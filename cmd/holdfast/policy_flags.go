package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon"
	"github.com/holdfast-backup/holdfast/daemon/api"
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
		&cli.StringFlag{Name: "otherwise", Usage: "`fail|fall-back`: what to do where that is not reached (default fall-back)"},
		&cli.IntFlag{Name: "trash-days", Usage: "pruned points stay in the trash for `N` days; 0: as the vault says"},
		&cli.StringFlag{Name: "rpo", Usage: "`TIME`: the newest good point is never to be older, for example 26h"},
		&cli.StringFlag{Name: "libvirt-tag", Usage: "it is also for libvirt domains with `TAG` in their title or metadata; the daemon protects new ones by itself"},
		&cli.IntFlag{Name: "retries", Usage: "try a backup that failed `N` times more, later each time (default 3)"},
		&cli.IntFlag{Name: "priority", Usage: "`N`, -100 to 100: of two backups that wait, the higher one begins first"},
		&cli.StringFlag{Name: "read-rate", Usage: "read at most `SIZE` a second of each machine, for example 200MiB; 0 for no limit"},
		&cli.StringFlag{Name: "write-rate", Usage: "write at most `SIZE` a second of each machine into the vault; 0 for no limit"},
		&cli.Float64Flag{Name: "verify-percent", Usage: "have `N` percent of the vault read back each day (default 1)"},
	}
}

// policyOf changes what a policy says as the flags do.
func policyOf(c *cli.Context, name string, t service.PolicyText) (blockstore.Policy, error) {
	for flag, to := range map[string]*string{"schedule": &t.Schedule, "timezone": &t.Timezone, "window": &t.Window, "max-duration": &t.MaxDuration,
		"consistency": &t.Consistency, "otherwise": &t.Otherwise, "rpo": &t.RPO, "libvirt-tag": &t.LibvirtTag, "read-rate": &t.ReadRate, "write-rate": &t.WriteRate} {
		if c.IsSet(flag) {
			*to = c.String(flag)
		}
	}
	for flag, to := range map[string]*int{"keep-last": &t.Keep.Last, "keep-hourly": &t.Keep.Hourly, "keep-daily": &t.Keep.Daily, "keep-weekly": &t.Keep.Weekly,
		"keep-monthly": &t.Keep.Monthly, "keep-yearly": &t.Keep.Yearly, "trash-days": &t.TrashDays, "priority": &t.Priority} {
		if c.IsSet(flag) {
			*to = c.Int(flag)
		}
	}
	if c.IsSet("jitter") {
		jitter := c.String("jitter")
		t.Jitter = &jitter
	}
	if c.IsSet("retries") {
		retries := c.Int("retries")
		t.Retries = &retries
	}
	if c.IsSet("verify-percent") {
		verify := c.Float64("verify-percent")
		t.Verify = &verify
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
func hostZone(k *console) string { return daemon.HostZone(k.getenv) }

// effortRows say with what effort a policy is followed; what is as usual is not said.
func effortRows(p api.Policy) (rows [][]string) {
	rate := func(n int64) string { return formatSize(n) + "/s" }
	for _, r := range []struct {
		said       bool
		name, text string
	}{
		{p.Tag != "", "libvirt tag", p.Tag},
		{p.Retries != service.UsualRetries, "retries", fmt.Sprint(p.Retries)},
		{p.Priority != 0, "priority", fmt.Sprint(p.Priority)},
		{p.ReadRate > 0, "reads at most", rate(p.ReadRate)},
		{p.WriteRate > 0, "writes at most", rate(p.WriteRate)},
		{p.Verify != service.UsualVerify, "read back a day", fmt.Sprintf("%g %%", p.Verify)},
	} {
		if r.said {
			rows = append(rows, []string{r.name, r.text})
		}
	}
	return rows
}
