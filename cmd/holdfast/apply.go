package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func applyCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "apply",
		Usage: "make the policies of a vault those of a file",
		Description: `Reads policies from a YAML file and shows what changes. A policy of the file is all that it says, what
it does not say is as usual; others in the vault stay, unless --remove-others is given. Keys that are not known,
and values that mean nothing, are errors that name line and key; nothing is changed then.

policies:
  nightly:
    machines: ['*']
    schedule: daily at 22:00
    timezone: Europe/Berlin
    window: 22:00-06:00
    jitter: 30m
    max-duration: 4h
    consistency: filesystem
    otherwise: fall-back
    keep: {last: 3, hourly: 0, daily: 7, weekly: 4, monthly: 12, yearly: 2}
    trash-days: 14
    rpo: 26h
    retries: 3
    priority: 10
    read-rate: 200MiB
    write-rate: 50MiB
    verify-percent: 1
    libvirt-tag: gold`,
		UsageText: "holdfast apply -f policies.yaml --dry-run --vault /srv/vault\nholdfast apply -f policies.yaml --remove-others",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "`FILE` to read; - for standard input"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only show what would change"},
			&cli.BoolFlag{Name: "remove-others", Usage: "remove policies that the file does not have"},
			jsonFlag(),
		}, waitFlags()...),
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			if c.String("file") == "" {
				return usagef("-f FILE is missing").hinted("`holdfast apply --help` shows what it looks like")
			}
			policies, err := readPolicies(c.String("file"))
			if err != nil {
				return err
			}
			path, err := k.vaultPath(c)
			if err != nil {
				return err
			}
			o := applying{path, c.Bool("dry-run"), c.Bool("remove-others"), c.Bool("json")}
			r := api.PoliciesRequest{RemoveOthers: o.others, DryRun: o.dry}
			for _, p := range policies {
				r.Policies = append(r.Policies, service.SpecOf(p))
			}
			if o.dry {
				return planPolicies(c.Context, k, o, policies, r)
			}
			return k.changing(c, func(w *worker) error {
				changes, err := w.SetPolicies(c.Context, w.vault, r)
				return showChanges(k, o, changes, err)
			})
		},
	}
}

type applying struct {
	vault             string
	dry, others, json bool
}

func readPolicies(name string) ([]blockstore.Policy, error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, service.MaxPolicyFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	policies, err := service.ReadPolicies(b)
	if err != nil {
		return nil, usagef("%s: %v", name, err).hinted("nothing was changed; `holdfast apply --help` shows all keys")
	}
	return policies, nil
}

// planPolicies says what would change.
func planPolicies(ctx context.Context, k *console, o applying, policies []blockstore.Policy, r api.PoliciesRequest) error {
	if w := k.reader(ctx, o.vault); w != nil {
		defer w.close()
		changes, err := w.SetPolicies(ctx, w.vault, r)
		return showChanges(k, o, changes, err)
	}
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	changes, err := service.ApplyPolicies(ctx, v, nil, policies, o.others)
	return showChanges(k, o, changes, err)
}

func showChanges(k *console, o applying, changes []api.PolicyChange, failed error) error {
	if o.json && failed == nil {
		return k.json(changes)
	}
	signs, same := map[string]string{"added": "+", "changed": "~", "removed": "-"}, 0
	for _, c := range changes {
		if c.Change == "same" {
			same++
			continue
		}
		k.printf("%s policy %s\n", signs[c.Change], c.Name)
		for _, line := range c.Diff {
			k.printf("    %s\n", line)
		}
	}
	if failed != nil {
		return leavingChanges(failed, len(changes))
	}
	done := map[bool]string{true: "would change", false: "changed"}[o.dry]
	k.printf("%d %s, %d as they were\n", len(changes)-same, done, same)
	return nil
}

func leavingChanges(err error, done int) error {
	return fmt.Errorf("%w (what is listed above was done, %s; run it again to go on)", err, count(done, "policy change"))
}
