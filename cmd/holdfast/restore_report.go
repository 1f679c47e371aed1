package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/restore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// reportRestore prints what was restored. Where a disk went to standard output, the
// words go beside it.
func reportRestore(k *console, p *blockstore.Point, res restore.Result, made *api.RestoredMachine, json bool, took time.Duration) error {
	outcome := service.DescribeRestore(p, res, took)
	outcome.Made = made
	for _, n := range outcome.Notes {
		k.say("note: %s", n)
	}
	for _, w := range outcome.Warnings {
		k.warn(w)
	}
	write := k.printf
	for _, d := range res.Disks {
		if d.Kind == restore.Stream {
			write = func(format string, args ...any) { k.say("%s", trimLine(fmt.Sprintf(format, args...))) }
		}
	}
	var err error
	if json {
		err = k.json(outcome)
	} else {
		showRestore(write, outcome)
	}
	if damaged := countDamaged(outcome); damaged > 0 {
		err = errors.Join(err, service.Hinted(
			&damagedError{count(damaged, "damaged range") + map[bool]string{true: " was", false: " were"}[damaged == 1] + " filled with zeros: what was restored is not whole"},
			"another point of the machine may be whole; a backup of the machine stores again what it still holds"))
	}
	return err
}

// reportInPlace prints what was restored in place; safety, which may be nil, is what
// was there before.
func reportInPlace(k *console, p, safety *blockstore.Point, res restore.Result, json bool, took time.Duration) error {
	if safety != nil {
		res.Before = safety.ID
	}
	res.InPlace = true
	return reportRestore(k, p, res, nil, json, took)
}

func trimLine(s string) string {
	if n := len(s); n > 0 && s[n-1] == '\n' {
		return s[:n-1]
	}
	return s
}

func countDamaged(r api.Restore) int {
	n := 0
	for _, d := range r.Disks {
		n += len(d.Damaged)
	}
	return n
}

func showRestore(write func(string, ...any), r api.Restore) {
	for _, d := range r.Disks {
		verified := ""
		if d.Verified {
			verified = ", verified"
		}
		what, to := "of data", "to"
		if r.InPlace {
			what, to = "written", "in place in"
		}
		write("restored disk %s of %s@%s %s %s (%s, %s, %s %s%s)\n",
			d.Name, r.Machine, r.Point, to, d.Target, d.Format, formatSize(d.Size), formatSize(d.Written), what, verified)
		for _, x := range d.Damaged {
			write("damaged: %s: zeros were written\n", place(d.Name, x.Offset, x.Length))
		}
	}
	for _, c := range r.Config {
		write("restored configuration to %s\n", c)
	}
	showMade(write, r.Made)
	if r.Before != "" {
		write("what was there before is %s@%s\n", r.Machine, r.Before)
	}
	write("restored in %s\n", time.Duration(r.Seconds*float64(time.Second)).Round(100*time.Millisecond))
}
