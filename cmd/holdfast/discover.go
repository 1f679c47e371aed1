package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func discoverCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "discover",
		Usage: "list the VMs of this host, and which of them are protected",
		Description: `Lists the domains of libvirt, running or not, and the QEMU processes beside it, with
their disks. With a vault (--vault, $HOLDFAST_VAULT, or the daemon's) it says which machine protects each. It
changes nothing. QEMU processes of others are seen by root only.`,
		UsageText: "holdfast discover\nholdfast discover --json | jq -r '.[] | select(.machine == null) | .name'",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "connect", Usage: "`URI`: of libvirt (default qemu:///system, if it is there)"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			vault, _ := k.usualVault(c.String("vault"))
			return discover(c.Context, k, vault, c.String("connect"), c.Bool("json"))
		},
	}
}

// discover prints the VMs of this host; vault may be "".
func discover(ctx context.Context, k *console, vault, uri string, asJSON bool) error {
	d := service.Discovering{URI: uri}
	if vault != "" && k.locked != nil && k.locked(vault) {
		k.say("note: which VMs are protected is not told: you may not open vault %s; `holdfast status` tells as much as you were granted to see", vault)
	} else if vault != "" {
		v, err := openVault(ctx, k, vault)
		if err != nil {
			return err
		}
		defer v.Close()
		if d.Machines, err = v.Machines(ctx); err != nil {
			k.warn(err.Error())
		}
	}
	found, err := service.Discover(ctx, d)
	if asJSON {
		return errors.Join(k.json(append([]api.FoundVM{}, found...)), err)
	}
	if len(found) == 0 && err == nil {
		k.say("no VM was found on this host; machines that are off and not libvirt's are protected by their images: `holdfast protect NAME --disk vda=IMAGE`")
		return nil
	}
	return errors.Join(showFound(k, found), err)
}

func showFound(k *console, found []api.FoundVM) error {
	rows := [][]string{{"VM", "KIND", "STATE", "AGENT", "MACHINE", "DISKS"}}
	for _, f := range found {
		var disks []string
		for _, d := range f.Disks {
			text := dash(d.Name)
			switch {
			case d.LeftOut != "":
				text += " (left out)"
			case d.Size > 0:
				text += fmt.Sprintf(" (%s, %s)", formatSize(d.Size), dash(d.Format))
			}
			disks = append(disks, text)
		}
		machine := f.Machine
		if machine == "" {
			machine = "not protected"
		}
		rows = append(rows, []string{dash(f.Name), f.Kind, f.State, dash(f.Agent), machine, dash(strings.Join(disks, ", "))})
	}
	if err := k.table(rows); err != nil {
		return err
	}
	for _, f := range found {
		if f.Unclear != "" {
			k.say("note: %s (pid %d): %s", dash(f.Name), f.PID, f.Unclear)
		}
	}
	for _, f := range found {
		if f.Machine != "" {
			continue
		}
		if how := protectWords(f); how != "" {
			k.say("to protect %s: holdfast protect %s %s", dash(f.Name), f.Suggested, how)
		}
	}
	return nil
}

// protectWords are the words that protect a VM; "" where it cannot be.
func protectWords(f api.FoundVM) string {
	switch {
	case f.Kind == "libvirt":
		return "--libvirt " + quoted(f.URI+"/"+f.Name)
	case f.QMP == "":
		return ""
	case f.QGA != "":
		return "--qmp " + quoted(f.QMP) + " --qga " + quoted(f.QGA)
	}
	return "--qmp " + quoted(f.QMP)
}

// quoted is s as a shell takes it for one word.
func quoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+-:@=,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
