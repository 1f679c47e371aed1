package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/quiesce"
)

// machineBackup is a backup of a machine that is protected: its record says the rest.
type machineBackup struct {
	request backup.MachineRequest
	reach   backup.Reaching
}

// machineFlags are those of backup that are about protected machines.
func machineFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.BoolFlag{Name: "scan", Usage: "of a protected machine: believe no bitmap, read the disks whole"},
		&cli.BoolFlag{Name: "include-secrets", Usage: "of a protected machine: keep passwords and keys of its definition, too"},
		stateFlag(),
	}, scratchFlags()...)
}

func machineBackupOf(k *console, c *cli.Context) (m *machineBackup, err error) {
	m = &machineBackup{request: backup.MachineRequest{Tool: toolName(), Scan: c.Bool("scan"), IncludeSecrets: c.Bool("include-secrets"),
		SkipUnchanged: c.Bool("skip-unchanged"), Guard: guards()}}
	m.reach.AllowInUse = c.Bool("allow-in-use")
	if m.reach.Scratch, err = scratchOf(c); err != nil {
		return nil, err
	}
	state, err := k.stateDir(c)
	if err != nil {
		return nil, err
	}
	if m.request.Journal, err = quiesce.OpenJournal(freezesIn(state)); err != nil {
		return nil, err
	}
	return m, nil
}

// run backs the machine up as its record says.
func (m *machineBackup) run(ctx context.Context, k *console, owner *blockstore.Owner, name string, progress func(backup.Progress)) (*backup.Result, error) {
	record, err := service.FindMachine(ctx, owner.Vault, name)
	if err != nil {
		return nil, err
	}
	q := m.request
	q.Machine, q.Open, q.Progress = record, m.reach.Open, progress
	r, err := backup.RunMachine(ctx, owner, q)
	if err == nil && record.Protected.Windows && !record.Protected.AcceptVSS && r.Point.Reached != blockstore.Crash {
		k.say("note: %s", service.VSSWarning)
	}
	return r, err
}

// readWords say how the disks of a running VM were read; "" for one that was off.
func readWords(p *blockstore.Point) string {
	var words []string
	for _, d := range p.Disks {
		switch d.Mode {
		case blockstore.ByBitmap:
			words = append(words, d.Name+" by bitmap")
		case blockstore.ByScan:
			words = append(words, fmt.Sprintf("%s by scan (%s)", d.Name, d.Reason))
		}
	}
	return strings.Join(words, ", ")
}
