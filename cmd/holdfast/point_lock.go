package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func pointLockCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "lock",
		Usage:     "keep recovery points from being dropped until a day",
		ArgsUsage: "MACHINE@POINT...",
		Description: `Nobody and nothing drops a locked point before its day: not sweep, not trash empty, not this
command, which only ever makes a lock longer. This cannot be undone. A locked point can
still be moved to the trash and back.`,
		UsageText: "holdfast point lock web1@latest --until 90d\nholdfast point lock db1@p0123 --until 2033-12-31 --vault /srv/vault",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "until", Usage: "`DATE`: 2033-12-31 (its end, UTC), 2033-12-31T18:00:00Z, or from now 36h, 90d, 52w, 10y"},
		}, waitFlags()...),
		Action: func(c *cli.Context) error {
			refs, err := pointArgs(c, 1)
			if err != nil {
				return err
			}
			until, err := parseUntil(c.String("until"), time.Now())
			if err != nil {
				return err
			}
			at := api.At(until)
			return changePoints(k, c, api.PointsRequest{Change: api.LockPoint, Points: refs, Until: &at}, func(k *console, done api.PointChange) {
				k.printf("locked %s until %s; this cannot be undone\n", nameOfPoint(done.Point), k.moment(until, false))
			})
		},
	}
}

// parseUntil reads a date, or a time from now.
func parseUntil(s string, now time.Time) (time.Time, error) {
	until, err := readUntil(s, now)
	switch {
	case err != nil:
		return time.Time{}, err
	case !until.After(now):
		return time.Time{}, usagef("--until %.40q is over already", s)
	case until.After(now.Add(service.LongestLock)):
		return time.Time{}, usagef("--until %.40q is more than 100 years away, and a lock cannot be undone", s)
	}
	return until.UTC(), nil
}

func readUntil(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, usagef("--until is missing").hinted("for example --until 90d or --until 2033-12-31")
	}
	if day, err := time.Parse("2006-01-02", s); err == nil {
		return day.Add(24*time.Hour - time.Second), nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	units := map[string]time.Duration{"h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "y": 365 * 24 * time.Hour}
	for unit, length := range units {
		digits, ok := strings.CutSuffix(s, unit)
		n, err := strconv.ParseInt(digits, 10, 64)
		if ok && err == nil && n > 0 && n <= int64(service.LongestLock/length) {
			return now.Add(time.Duration(n) * length), nil
		}
	}
	return time.Time{}, usagef("--until %.40q is no date and no time from now of at most 100 years", s).
		hinted("for example --until 90d or --until 2033-12-31")
}
