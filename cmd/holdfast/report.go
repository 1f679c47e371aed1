package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func reportCommand(k *console) *cli.Command {
	return &cli.Command{Name: "report", Usage: "what machines used, for a bill", Subcommands: []*cli.Command{reportUsageCommand(k)}}
}

func reportUsageCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "usage",
		Usage: "protected and stored bytes of each machine, by month",
		Description: `A machine counts in each month (of UTC) in which it had a recovery point, made in that month or kept
from before, whether it is still protected or not. PROTECTED is its allocated, non-zero data, disks that
are left out not counted: the largest of the points made in the month or, where none was made, that of the
newest point before. INSTANCES is one for each 500 GiB of it begun, as clouds count protected
instances. STORED is what the points of the month added to the vault, compressed. Points in the
trash count until they were deleted; points that were dropped since are not known any more, so a
month that is long past can show less than it did. --exclusive adds what the machine alone takes up
now: what dropping all its points would free.`,
		UsageText: "holdfast report usage --vault /srv/vault\nholdfast report usage --month 2026-11 --csv > november.csv\nholdfast report usage --month 2026-01 --to 2026-12 --json",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "month", Usage: "`MONTH`: such as 2026-11 (default: this one)"},
			&cli.StringFlag{Name: "to", Usage: "`MONTH`: all months until this one"},
			&cli.StringFlag{Name: "machine", Usage: "`MACHINE`: only this one"},
			&cli.BoolFlag{Name: "exclusive", Usage: "add what each machine alone takes up, which reads maps"},
			&cli.BoolFlag{Name: "csv", Usage: "print the result as CSV, sizes in bytes"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			_, how, err := k.looking(c)
			if err != nil {
				return err
			}
			if how.json && c.Bool("csv") {
				return usagef("--json and --csv exclude each other")
			}
			if c.IsSet("to") && !c.IsSet("month") {
				return usagef("--to needs --month")
			}
			q := api.UsageQuery{From: c.String("month"), To: c.String("to"), Machine: c.String("machine"), Exclusive: c.Bool("exclusive")}
			return reportUsage(c.Context, k, how, q, c.Bool("csv"))
		},
	}
}

func reportUsage(ctx context.Context, k *console, o listing, q api.UsageQuery, asCSV bool) error {
	w, done, err := k.watching(ctx, o.vault, "", true)
	if err != nil {
		return err
	}
	defer done()
	u, err := w.Usage(ctx, w.vault, q)
	switch {
	case err != nil:
		return err
	case o.json:
		return k.json(u)
	case asCSV:
		return usageCSV(k, u)
	}
	head := []string{"MONTH", "MACHINE", "INSTANCES", "PROTECTED", "POINTS", "KEPT", "STORED"}
	right := []int{2, 3, 4, 5, 6}
	if q.Exclusive {
		head, right = append(head, "EXCLUSIVE"), append(right, 7)
	}
	rows := [][]string{head}
	for _, m := range u.Months {
		for _, used := range m.Machines {
			rows = append(rows, usageRow(m.Month, used, q.Exclusive))
		}
		month := m.Month
		if m.Partial {
			month += " so far"
		}
		sum := []string{month, "all", strconv.Itoa(m.Instances), formatSize(m.Protected), "", "", formatSize(m.Stored)}
		if q.Exclusive {
			sum = append(sum, "")
		}
		rows = append(rows, sum)
	}
	return k.table(rows, right...)
}

func usageRow(month string, u api.MachineUsage, exclusive bool) []string {
	row := []string{month, u.Machine, strconv.Itoa(u.Instances), formatSize(u.Protected), strconv.Itoa(u.Points), strconv.Itoa(u.Kept), formatSize(u.Stored)}
	if exclusive {
		words := "-"
		if u.Exclusive != nil {
			words = formatSize(*u.Exclusive)
		}
		row = append(row, words)
	}
	return row
}

// usageCSV prints a line for each machine and month. Its columns are stable.
func usageCSV(k *console, u api.Usage) error {
	w := csv.NewWriter(k.out)
	w.Write([]string{"month", "vault", "machine", "machine_id", "instances", "protected_bytes", "points", "kept", "stored_bytes", "exclusive_bytes"})
	for _, m := range u.Months {
		for _, used := range m.Machines {
			exclusive := ""
			if used.Exclusive != nil {
				exclusive = fmt.Sprint(*used.Exclusive)
			}
			w.Write([]string{m.Month, u.Vault.Name, used.Machine, used.MachineID, strconv.Itoa(used.Instances), fmt.Sprint(used.Protected),
				strconv.Itoa(used.Points), strconv.Itoa(used.Kept), fmt.Sprint(used.Stored), exclusive})
		}
	}
	w.Flush()
	return w.Error()
}
