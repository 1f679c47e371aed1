package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func machinesCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "machines",
		Usage: "list the machines of a vault, and how their VMs are",
		Description: `Lists machines with the state of their VMs: what this host says, GONE (migrated?) where the VM
is not on it any more, ANOTHER VM where another one has its place. Nothing is ever deleted
because of that. Machines that are not protected have points only.`,
		UsageText: "holdfast machines --vault /srv/vault\nholdfast machines --json | jq -r '.[] | select(.protected) | .name'",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "no-state", Usage: "do not ask how the VMs are"},
			jsonFlag(), localFlag(),
		},
		Action: func(c *cli.Context) error {
			_, how, err := k.looking(c)
			if err != nil {
				return err
			}
			return listMachines(c.Context, k, how, !c.Bool("no-state"))
		},
	}
}

func listMachines(ctx context.Context, k *console, o listing, ask bool) error {
	if w := k.reader(ctx, o.vault); w != nil {
		defer w.close()
		all, err := w.Machines(ctx, w.vault)
		if err != nil {
			return err
		}
		return showMachines(k, o, all, nil)
	}
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	machines, unread := v.Machines(ctx)
	described, err := service.DescribeMachines(ctx, v, machines, ask)
	return showMachines(k, o, described, errors.Join(unread, err))
}

// showMachines prints machines, and returns unread.
func showMachines(k *console, o listing, described []api.Machine, unread error) error {
	if o.json {
		return errors.Join(k.json(described), unread)
	}
	if len(described) == 0 && unread == nil {
		k.say("vault %s knows no machine yet; `holdfast discover` lists the VMs of this host", o.vault)
		return nil
	}
	rows := [][]string{{"MACHINE", "VM", "KIND", "STATE", "CONSISTENCY", "POINTS", "NEWEST", "HELD UNTIL"}}
	for _, m := range described {
		row := []string{m.Name, "-", "-", dash(m.State), "-", fmt.Sprint(m.Points), "-", "-"}
		if p := m.Protection; p != nil {
			row[1], row[2], row[4] = dash(p.VM), p.Kind, p.Consistency
		} else {
			row[2] = "not protected"
		}
		if m.Newest != nil {
			row[6] = k.moment(m.Newest.Time, o.local)
		}
		if m.HeldUntil != nil {
			row[7] = k.moment(m.HeldUntil.Time, o.local)
		}
		rows = append(rows, row)
	}
	return errors.Join(k.table(rows, 5), unread)
}

func machineCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "machine",
		Usage:       "look at single machines, and rename them",
		Subcommands: []*cli.Command{machineShowCommand(k), machineRenameCommand(k)},
	}
}

func machineShowCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "show",
		Usage:       "show all about a machine",
		ArgsUsage:   "MACHINE",
		Description: "Shows which VM a machine stands for, how it is reached, what is asked of its backups, and\nhow many points it has.",
		UsageText:   "holdfast machine show web1 --vault /srv/vault",
		Flags:       []cli.Flag{jsonFlag(), localFlag()},
		Action: func(c *cli.Context) error {
			args, how, err := k.looking(c, "MACHINE")
			if err != nil {
				return err
			}
			return showMachine(c.Context, k, args[0], how)
		},
	}
}

func showMachine(ctx context.Context, k *console, name string, o listing) error {
	if w := k.reader(ctx, o.vault); w != nil {
		defer w.close()
		m, err := farMachine(ctx, w, name)
		if err != nil {
			return err
		}
		return showOneMachine(k, m, o, nil)
	}
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	m, err := service.FindMachine(ctx, v, name)
	if err != nil {
		return err
	}
	all, unread := service.DescribeMachines(ctx, v, []blockstore.Machine{m}, true)
	return showOneMachine(k, all[0], o, unread)
}

// farMachine has a daemon tell of a machine.
func farMachine(ctx context.Context, w *worker, name string) (api.Machine, error) {
	all, err := w.Machines(ctx, w.vault)
	if err != nil {
		return api.Machine{}, err
	}
	var names []string
	for _, m := range all {
		if m.Name == name || m.ID == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	hint := "`holdfast machines` lists those that you may see"
	if near := service.Closest(name, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	return api.Machine{}, &hintError{Err: fmt.Errorf("machine %s: %w among those that you may see", name, blockstore.ErrNotFound), Hint: hint}
}

func showOneMachine(k *console, m api.Machine, o listing, unread error) error {
	if o.json {
		return errors.Join(k.json(m), unread)
	}
	return errors.Join(k.table(machineRows(k, m, o.local)), unread)
}

func machineRows(k *console, m api.Machine, local bool) [][]string {
	rows := [][]string{{"machine", fmt.Sprintf("%s (%s)", m.Name, m.ID)}, {"points", fmt.Sprint(m.Points)}}
	if m.Newest != nil {
		rows = append(rows, []string{"newest", k.moment(m.Newest.Time, local)})
	}
	if m.HeldUntil != nil {
		rows = append(rows, []string{"held until", k.moment(m.HeldUntil.Time, local)})
	}
	p := m.Protection
	if p == nil {
		return append(rows, []string{"protected", "no"})
	}
	rows = append(rows, []string{"protected since", k.moment(p.Since.Time, local)}, []string{"VM", vmWords(p)}, []string{"state", dash(m.State)},
		[]string{"consistency", p.Consistency + ", otherwise " + p.Otherwise}, []string{"freeze time-out", fmt.Sprintf("%gs", p.FreezeTimeout)},
		[]string{"left out", dash(strings.Join(p.Exclude, ", "))}, []string{"samples", fmt.Sprintf("%d blocks of each disk", max(p.Samples, 0))})
	if p.QGA != "" {
		rows = append(rows, []string{"agent", p.QGA})
	}
	for _, i := range p.Images {
		words := i.Path + parenthesis(i.Format)
		if i.Unreadable != "" {
			words += ", in no point while the VM is off: " + i.Unreadable
		}
		rows = append(rows, []string{"image of " + i.Name, words})
	}
	for _, h := range p.Hooks {
		when, command := "before", h.Pre
		if h.Post != "" {
			when, command = "after", h.Post
		}
		rows = append(rows, []string{"on the " + h.Place + " " + when, command})
	}
	if p.Shareable {
		rows = append(rows, []string{"shareable disks", "backed up, too"})
	}
	if p.RawBitmaps {
		rows = append(rows, []string{"raw disks", "changes are tracked"})
	}
	return rows
}

func machineRenameCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "rename",
		Usage:       "give a machine another name",
		ArgsUsage:   "MACHINE NEW-NAME",
		Description: "Renames a machine. Its points stay its points and are found by the new name; the VM is not\ntouched, and may be called whatever it is.",
		UsageText:   "holdfast machine rename web1 web-old --vault /srv/vault",
		Flags:       waitFlags(),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MACHINE", "NEW-NAME")
			if err != nil {
				return err
			}
			for _, name := range args {
				if err := checkMachine(name); err != nil {
					return err
				}
			}
			return k.changing(c, func(w *worker) error {
				m, err := w.RenameMachine(c.Context, w.vault, args[0], args[1])
				if err != nil {
					return err
				}
				k.printf("machine %s (%s) is called %s now\n", args[0], m.ID, m.Name)
				return nil
			})
		},
	}
}
