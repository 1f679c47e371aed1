package main

import (
	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// showSweep says in words what a sweep did and why the rest stays.
func showSweep(k *console, s api.Sweep, full bool) {
	freed, dropped := "freed", "dropped"
	if s.Dry {
		freed, dropped = "would free", "would drop"
	}
	for _, p := range s.Dropped {
		k.printf("%s %s@%s (%s)\n", dropped, p.Machine, p.Time.Format(blockstore.LabelLayout), p.ID)
	}
	if s.PutBack > 0 {
		k.printf("put back %s whose record was lost\n", count(s.PutBack, "point"))
	}
	k.printf("%s %s: %d of %s removed, %d of these after %s in them were copied\n",
		freed, formatSize(s.Freed), s.Removed, count(s.Packs, "pack"), s.Rewritten, formatSize(s.Copied))
	for _, why := range whyItStays(k, s, full) {
		k.printf("  %s\n", why)
	}
}

// whyItStays explains what is still there, in lines.
func whyItStays(k *console, s api.Sweep, full bool) (lines []string) {
	line := func(bytes int64, text string) {
		if bytes > 0 {
			lines = append(lines, formatSize(bytes)+" "+text)
		}
	}
	line(s.Live-s.Trash, "stay: recovery points name them")
	trash := "stay: only points in the trash name them"
	if s.TrashUntil != nil {
		trash += "; the next of those can go on " + k.moment(s.TrashUntil.Time, false) + ", or now with `holdfast trash empty --now`"
	}
	line(s.Trash, trash)
	dead := "stay though nothing names them: most of what lies with them in their packs is needed"
	if !full {
		dead += "; --full frees them"
	}
	line(s.Dead, dead)
	young := "stay for backups that are tried again"
	if s.YoungUntil != nil {
		young += "; the last of it can go on " + k.moment(s.YoungUntil.Time, false) + ", or now with --now"
	}
	line(s.Young, young)
	line(s.Pinned, "stay: a backup that runs relies on them")
	line(s.NoRoom, "stay though nothing names them: there is no room to copy what lies with them; sweep again")
	line(s.Damaged, "stay: they hold damaged data that points name; `holdfast check --data` says which")
	return lines
}

// showPlan names what to give up, and the command that does.
func showPlan(k *console, p *blockstore.FreePlan) error {
	if p.Trash > 0 {
		k.printf("emptying the trash frees %s:\n  holdfast trash empty --now\n", formatSize(p.Trash))
	}
	var points []*blockstore.Point
	rows := [][]string{{"MACHINE", "POINT", "ID", "FREES"}}
	for _, q := range p.Points {
		points = append(points, q.Point)
		rows = append(rows, []string{q.MachineName, q.Label(), string(q.ID), formatSize(q.Frees)})
	}
	if len(points) > 0 {
		k.printf("giving up %s, the oldest first, frees %s:\n", count(len(points), "point"), formatSize(p.Frees-p.Trash))
		if err := k.table(rows, 3); err != nil {
			return err
		}
		names := pointNames(points)
		k.printf("  holdfast point delete %s\n  holdfast trash empty %s --now\n", names, names)
	}
	if p.Frees < p.Wanted {
		k.warn("that is all that can be given up, " + formatSize(p.Frees) + " of " + formatSize(p.Wanted) +
			": locked points and the last one of each machine are kept")
		return nil
	}
	k.printf("together %s; `holdfast sweep --full` then frees all of it\n", formatSize(p.Frees))
	return nil
}
