package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func pointDeleteCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "delete",
		Usage:     "move recovery points to the trash",
		ArgsUsage: "MACHINE@POINT...",
		Description: `Moves points to the trash: they are not listed, mounted or latest any more, and
` + "`holdfast point undelete`" + ` brings them back. A sweep drops them for good when their time there is
over (14 days unless the vault says otherwise) and any lock has ended; only that frees space.`,
		UsageText: "holdfast point delete web1@2026-11-22T22-00-05Z\nholdfast point delete web1@p0123 db1@p4567 --vault /srv/vault",
		Flags:     waitFlags(),
		Action:    onPoints(k, api.DeletePoint, tellDeleted),
	}
}

func tellDeleted(k *console, c api.PointChange) {
	k.printf("deleted %s; until %s it can be undeleted\n", nameOfPoint(c.Point), c.ExpiresOn.Format("2006-01-02"))
	if until := c.Point.Locked; until != nil && until.After(time.Now()) {
		k.say("note: it is locked, and takes space until %s", k.moment(until.Time, false))
	}
}

func pointUndeleteCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "undelete",
		Usage:       "take recovery points out of the trash",
		ArgsUsage:   "MACHINE@POINT...",
		Description: "Takes points out of the trash. `holdfast trash` lists what is in it.",
		UsageText:   "holdfast point undelete web1@p0123456789abcdef --vault /srv/vault",
		Flags:       waitFlags(),
		Action:      onPoints(k, api.UndeletePoint, tellUndeleted),
	}
}

func tellUndeleted(k *console, c api.PointChange) { k.printf("undeleted %s\n", nameOfPoint(c.Point)) }
