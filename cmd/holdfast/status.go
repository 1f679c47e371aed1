package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/status"
)

func statusCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "is every machine protected, and is the vault well",
		Description: `Says on one screen what is at risk and why: machines whose newest good point is older than
their policy's RPO, that have none, or that no policy covers (UNPROTECTED), VMs of this host that nobody
protects, and vaults that are damaged, nearly full, or cannot be read. A good point is undamaged, as
consistent as its policy wants, and short of no disk. MODE is how the newest point was read: by
bitmap, or by scan, which costs more; --machine says why. TREND is the growth of the protected size in
about a month. When the vault is full is reckoned from what its file system gained in the last weeks, at
their usual and their fastest pace; before two weeks were measured, from what backups added, which counts
nothing that sweeps free.

Exit code 3: something is at risk. Where a vault does not answer, what was known of it last is shown, and
when that was. ` + "`holdfast ignore NAME`" + ` is for what needs no protection.`,
		UsageText: "holdfast status --vault /srv/vault\nholdfast status --machine web1\nholdfast status --nagios\nholdfast status --json | jq -r '.reasons[]'",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "machine", Usage: "`MACHINE`: all about one"},
			&cli.BoolFlag{Name: "all", Usage: "list all reasons and machines, however many there are"},
			&cli.BoolFlag{Name: "nagios", Usage: "one line and the exit code of a plugin of Nagios: 0 well, 1 look, 2 at risk, 3 unknown"},
			&cli.BoolFlag{Name: "no-host", Usage: "do not ask for the VMs of this host"},
			stateFlag(), jsonFlag(), localFlag(),
		},
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			how, err := k.listing(c)
			if err != nil && !k.hasDaemon() {
				return err // with a daemon, all its vaults are meant
			}
			if how.json && c.Bool("nagios") {
				return usagef("--json and --nagios exclude each other")
			}
			o := statusOptions{how, c.String("machine"), c.Bool("all"), c.Bool("nagios"), c.Bool("no-host"), k.readState(c)}
			return showStatus(c.Context, k, o)
		},
	}
}

type statusOptions struct {
	listing
	machine             string // "": all
	all, nagios, noHost bool
	stateDir            string
}

// endedError ends a command that said all with an exit code of its own.
type endedError struct{ code int }

func (e *endedError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// showStatus prints a status.
func showStatus(ctx context.Context, k *console, o statusOptions) error {
	w, done, err := k.watching(ctx, o.vault, o.stateDir, true)
	if err != nil {
		return err
	}
	defer done()
	s, err := w.Status(ctx, api.StatusQuery{Vault: w.vault, Machine: o.machine, NoHost: o.noHost})
	if o.nagios {
		line, code := "HOLDFAST UNKNOWN - "+strings.ReplaceAll(fmt.Sprint(err), "\n", " "), status.NagiosUnknown
		if err == nil {
			line, code = status.Nagios(s)
		}
		k.printf("%s\n", line)
		return &endedError{code}
	}
	if err != nil {
		return err
	}
	if o.json {
		err = k.json(s)
	} else {
		err = k.showStatus(s, o)
	}
	if err == nil && s.AtRisk {
		return &endedError{exitWarnings}
	}
	return err
}

// readState is the folder of what this host remembers, for a command that can do without.
func (k *console) readState(c *cli.Context) string {
	if dir := c.String("state-dir"); dir != "" {
		return dir
	}
	return k.usualState()
}

// fewMachines are as many as are listed, well or not.
const fewMachines = 30

func (k *console) showStatus(s api.Status, o statusOptions) error {
	paint := k.painter()
	words := paint(green, "all is well")
	switch {
	case s.AtRisk:
		words = paint(red, fmt.Sprintf("AT RISK, for %s", counted(len(s.Reasons), "reason")))
	case len(s.Warnings) > 0:
		words = paint(yellow, fmt.Sprintf("nothing is at risk, %s", counted(len(s.Warnings), "warning")))
	}
	k.raw("%s at %s: %s\n", s.Host, k.moment(s.Time.Time, o.local), words)
	k.list(s.Reasons, o.all, func(text string) string { return paint(red, "! "+text) })
	k.list(s.Warnings, o.all, func(text string) string { return paint(yellow, "- "+text) })
	for i := range s.Vaults {
		k.showVaultStatus(&s.Vaults[i], o.local)
	}
	if o.machine != "" && len(s.Machines) == 1 {
		k.raw("\n")
		return k.table(oneMachine(k, &s.Machines[0], o.local))
	}
	return k.showMachines(s.Machines, o)
}

// fewLines are as many as are spelled out of reasons, and of warnings.
const fewLines = 12

// list prints a few texts, or all, a line each.
func (k *console) list(texts []string, all bool, line func(string) string) {
	for i, text := range texts {
		if i == fewLines && !all {
			k.raw("  ... and %d more: --all lists them\n", len(texts)-i)
			return
		}
		k.raw("  %s\n", line(text))
	}
}

func (k *console) showMachines(machines []api.MachineStatus, o statusOptions) error {
	rows := [][]string{{"MACHINE", "POLICY", "", "LAST GOOD", "AGE", "RPO", "NEXT", "CONSISTENCY", "MODE", "PROTECTED", "TREND", "VM"}}
	well, more := 0, 0
	for i := range machines {
		m := &machines[i]
		switch {
		case len(machines) <= fewMachines, o.all:
		case len(m.Reasons)+len(m.Warnings) == 0:
			well++
			continue
		case len(rows) > fewMachines:
			more++
			continue
		}
		rows = append(rows, machineRow(k, m, o.local))
	}
	if len(rows) > 1 {
		k.raw("\n")
		if err := k.table(rows, 4, 5, 9, 10); err != nil {
			return err
		}
	}
	if more > 0 {
		k.raw("%s more of which something is to be said: --all lists them\n", counted(more, "machine"))
	}
	if well > 0 {
		k.raw("%s of which nothing is to be said: --all lists them\n", counted(well, "machine"))
	}
	return nil
}

func machineRow(k *console, m *api.MachineStatus, local bool) []string {
	row := []string{m.Name, dash(m.Policy), "ok", "-", "-", "-", "-", "-", "-", "-", "-", dash(m.State)}
	switch {
	case m.AtRisk:
		row[2] = "AT RISK"
	case len(m.Warnings) > 0:
		row[2] = "look"
	case m.Ignored && m.Unprotected != nil:
		row[2] = "ignored"
	}
	if m.Good != nil {
		row[3], row[4] = k.moment(m.Good.Time.Time, local), status.Span(*m.Age)
	}
	if m.Objective > 0 {
		row[5] = status.Span(m.Objective)
	}
	if m.Next != nil {
		row[6] = k.moment(m.Next.Time, local)
	}
	if p := m.Last; p != nil {
		row[7], row[8], row[9] = p.Consistency, dash(p.Mode), formatSize(m.Protects)
		if p.Asked != p.Consistency && p.Asked != "" {
			row[7] += " (asked: " + p.Asked + ")"
		}
	}
	if m.TrendDays > 0 {
		row[10] = trend(m)
	}
	return row
}

func trend(m *api.MachineStatus) string {
	sign := "+"
	if m.Trend < 0 {
		sign = ""
	}
	return fmt.Sprintf("%s%s/%dd", sign, formatSize(m.Trend), m.TrendDays)
}

// oneMachine says all about a machine.
func oneMachine(k *console, m *api.MachineStatus, local bool) [][]string {
	point := func(p *api.PointBrief) string {
		if p == nil {
			return "none"
		}
		words := fmt.Sprintf("%s (%s), %s, %s was asked for", k.moment(p.Time.Time, local), p.ID, p.Consistency, p.Asked)
		for _, more := range []string{p.Reason, p.Flaw} {
			if more != "" {
				words += ": " + more
			}
		}
		return words
	}
	rows := [][]string{{"machine", fmt.Sprintf("%s (%s) in vault %s", m.Name, m.ID, m.Vault)}, {"VM", dash(m.State)}, {"policy", dash(m.Policy)},
		{"points", fmt.Sprint(m.Points)}, {"newest good", point(m.Good)}, {"newest", point(m.Last)}}
	if m.Age != nil {
		rows = append(rows, []string{"age", status.Span(*m.Age)})
	}
	if m.Objective > 0 {
		rows = append(rows, []string{"RPO", status.Span(m.Objective)})
	}
	if m.Next != nil {
		rows = append(rows, []string{"next run", k.moment(m.Next.Time, local)})
	}
	if m.Last != nil && m.Last.Mode != "" {
		rows = append(rows, []string{"read by", m.Last.Mode + parenthesis(m.Last.ModeReason)})
	}
	rows = append(rows, []string{"protected", formatSize(m.Protects)}, []string{"stored", formatSize(m.Stored)})
	if m.TrendDays > 0 {
		rows = append(rows, []string{"trend", trend(m)})
	}
	if j := m.Job; j != nil {
		words := j.State
		if j.Ended != nil {
			words += " at " + k.moment(j.Ended.Time, local)
		}
		if j.Problem != nil {
			words += ": " + j.Problem.Detail
			if j.Problem.Hint != "" {
				words += " (" + j.Problem.Hint + ")"
			}
		}
		rows = append(rows, []string{"last job", words})
	}
	return rows
}

// showVaultStatus says in a few lines how a vault is.
func (k *console) showVaultStatus(v *api.VaultStatus, local bool) {
	k.raw("\nvault %s", v.Name)
	if v.Path != "" { // else this user is not told
		k.raw(" (%s)", v.Path)
	}
	if v.AsOf != nil {
		k.raw(", as it was at %s", k.moment(v.AsOf.Time, local))
	} else if v.Problem != "" {
		k.raw("\n")
		return
	}
	k.raw(": %s of %s, %d in the trash\n", counted(v.Points, "point"), counted(v.Machines, "machine"), v.Trash)
	k.raw("  data of all points %s of disks of %s, stored in %s", formatSize(v.Protects), formatSize(v.Logical), formatSize(v.Stored))
	if v.Dedup > 0 && v.Compress > 0 {
		k.raw(" (deduplicated %.1f : 1, compressed %.1f : 1)", v.Dedup, v.Compress)
	}
	k.raw("\n  free %s of %s, of which %s stay free%s\n", formatSize(v.Free), formatSize(v.Size), formatSize(v.Floor), forecast(v.Forecast))
	k.raw("  last swept %s, last checked %s\n", orNever(k, v.Sweep, local), orNever(k, v.Check, local))
}

func orNever(k *console, t *api.Time, local bool) string {
	if t == nil {
		return "never, as far as is known here"
	}
	return k.moment(t.Time, local)
}

// forecast says when a vault is full, and how sure that is.
func forecast(g *api.Growth) string {
	if g == nil {
		return "; when it is full cannot be told before two weeks of points"
	}
	date := func(t *api.Time) string { return t.Format(time.DateOnly) }
	switch {
	case g.Full == nil && g.Early == nil && g.PerDay < 0:
		return fmt.Sprintf("; its file system was emptied by %s a day over %d days", formatSize(-g.PerDay), g.Days)
	case g.Full == nil && g.Early == nil:
		return fmt.Sprintf("; at %s a day not full within ten years", formatSize(g.PerDay))
	case g.Full == nil:
		return fmt.Sprintf("; full as early as %s at the fastest week's pace, otherwise not within ten years", date(g.Early))
	case g.Early != nil && date(g.Early) != date(g.Full):
		return fmt.Sprintf("; full about %s (%s a day over %d days), as early as %s", date(g.Full), formatSize(g.PerDay), g.Days, date(g.Early))
	}
	return fmt.Sprintf("; full about %s (%s a day over %d days)", date(g.Full), formatSize(g.PerDay), g.Days)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

const (
	red    = "31"
	yellow = "33"
	green  = "32"
)

// painter returns what colours text, where results go to a terminal that shows colours to somebody who
// wants them (https://no-color.org). What a terminal would obey in the text is made visible first.
func (k *console) painter() func(colour, text string) string {
	plain := !k.outTerm || k.getenv("NO_COLOR") != "" || k.getenv("TERM") == "dumb"
	return func(colour, text string) string {
		text = printable(strings.ReplaceAll(text, "\n", " "))
		if plain {
			return text
		}
		return "\x1b[" + colour + "m" + text + "\x1b[0m"
	}
}

// raw writes a result whose text is printable, or was made so by a painter.
func (k *console) raw(format string, args ...any) { fmt.Fprintf(k.out, format, args...) }
