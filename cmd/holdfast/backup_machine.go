package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// machineFlags are those of backup that are about protected machines.
func machineFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.BoolFlag{Name: "scan", Usage: "of a protected machine: believe no bitmap, read the disks whole"},
		&cli.BoolFlag{Name: "include-secrets", Usage: "of a protected machine: keep passwords and keys of its definition, too"},
		stateFlag(),
	}, scratchFlags()...)
}

// readWords say how the disks of a running VM were read; "" for one that was off.
func readWords(p api.Point) string {
	var words []string
	for _, d := range p.Disks {
		switch d.Mode {
		case string(blockstore.ByBitmap):
			words = append(words, d.Name+" by bitmap")
		case string(blockstore.ByScan):
			words = append(words, fmt.Sprintf("%s by scan (%s)", d.Name, d.ModeReason))
		}
	}
	return strings.Join(words, ", ")
}
