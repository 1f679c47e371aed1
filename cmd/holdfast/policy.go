package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func policyCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "policy",
		Usage: "say when machines are backed up, and what is kept",
		Subcommands: []*cli.Command{policySetCommand(k), policyListCommand(k), policyShowCommand(k), policyPreviewCommand(k),
			policyRemoveCommand(k)},
	}
}

// hostSeed tells this host from others, for its place within a jitter.
func hostSeed() string {
	if b, err := os.ReadFile("/etc/machine-id"); err == nil {
		return strings.TrimSpace(string(b))
	}
	name, _ := os.Hostname() // empty is a seed, too
	return name
}

func policyListCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "list",
		Usage:       "list the policies of a vault",
		Description: "Lists policies with what they keep, and the machines that they are for. `holdfast policy show` says\nall of one.",
		UsageText:   "holdfast policy list --vault /srv/vault\nholdfast policy list --json | jq -r '.[].name'",
		Flags:       []cli.Flag{jsonFlag(), localFlag()},
		Action: func(c *cli.Context) error {
			_, how, err := k.looking(c)
			if err != nil {
				return err
			}
			return listPolicies(c.Context, k, how)
		},
	}
}

// policiesOf describes the policies of a vault, and says which machines have none,
// or several alike.
func policiesOf(ctx context.Context, v *blockstore.Vault) (all []api.Policy, doubts []string, unread error) {
	policies, unread := v.Policies(ctx)
	machines, err := v.Machines(ctx)
	unread = errors.Join(unread, err)
	all = make([]api.Policy, 0, len(policies))
	for _, p := range policies {
		all = append(all, service.DescribePolicy(p, policies, machines, hostSeed(), time.Now()))
	}
	var without []string
	for _, m := range machines {
		_, ok, err := service.PolicyFor(m, policies)
		switch {
		case err != nil:
			doubts = append(doubts, "note: "+err.Error()+", so that none counts")
		case !ok:
			without = append(without, m.Name)
		}
	}
	if len(without) > 0 {
		doubts = append(doubts, "without a policy: "+strings.Join(without, ", "))
	}
	return all, doubts, unread
}

func listPolicies(ctx context.Context, k *console, o listing) error {
	if w := k.reader(ctx, o.vault); w != nil {
		defer w.close()
		all, err := w.Policies(ctx, w.vault)
		if err != nil {
			return err
		}
		return showPolicies(k, o, all, nil, nil)
	}
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	all, doubts, unread := policiesOf(ctx, v)
	return showPolicies(k, o, all, doubts, unread)
}

// showPolicies prints policies, and returns unread.
func showPolicies(k *console, o listing, all []api.Policy, doubts []string, unread error) error {
	if o.json {
		return errors.Join(k.json(all), unread)
	}
	if len(all) == 0 && unread == nil {
		k.say("vault %s has no policies: nothing is backed up by itself, and all points are kept", o.vault)
		return nil
	}
	rows := [][]string{{"POLICY", "SCHEDULE", "TIMEZONE", "NEXT RUN", "KEEP", "GLOBS", "MACHINES"}}
	for _, p := range all {
		next := "-"
		if p.NextRun != nil {
			next = k.moment(p.NextRun.Time, o.local)
		}
		rows = append(rows, []string{p.Name, dash(p.Schedule), dash(p.Timezone), next, policy.Retention(p.Keep).String(), dash(strings.Join(p.Globs, " ")), fmt.Sprint(len(p.Machines))})
	}
	err := k.table(rows, 6)
	for _, d := range doubts {
		k.say("%s", d)
	}
	return errors.Join(err, unread)
}

func policyShowCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "show",
		Usage:       "show all about a policy",
		ArgsUsage:   "POLICY",
		Description: "Shows what a policy says, which machines it is for, and when it runs next on this host.",
		UsageText:   "holdfast policy show nightly --vault /srv/vault",
		Flags:       []cli.Flag{jsonFlag(), localFlag()},
		Action: func(c *cli.Context) error {
			args, how, err := k.looking(c, "POLICY")
			if err != nil {
				return err
			}
			return showPolicy(c.Context, k, args[0], how)
		},
	}
}

func showPolicy(ctx context.Context, k *console, name string, o listing) error {
	if w := k.reader(ctx, o.vault); w != nil {
		defer w.close()
		p, err := farPolicy(ctx, w, name)
		if err != nil {
			return err
		}
		if o.json {
			return k.json(p)
		}
		return k.table(policyRows(k, p, o.local))
	}
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	p, err := findPolicy(ctx, v, name)
	if err != nil {
		return err
	}
	all, _, unread := policiesOf(ctx, v)
	for _, a := range all {
		if a.Name != p.Name {
			continue
		}
		if o.json {
			return errors.Join(k.json(a), unread)
		}
		return errors.Join(k.table(policyRows(k, a, o.local)), unread)
	}
	return unread
}

func policyRows(k *console, p api.Policy, local bool) [][]string {
	span := func(seconds int64) string {
		if seconds == 0 {
			return "-"
		}
		return policy.FormatSpan(time.Duration(seconds) * time.Second)
	}
	rows := [][]string{{"policy", fmt.Sprintf("%s (%s)", p.Name, p.ID)}, {"changed", k.moment(p.Changed.Time, local)},
		{"for", dash(strings.Join(p.Globs, " "))}, {"machines", dash(strings.Join(p.Machines, ", "))},
		{"schedule", dash(p.Schedule)}, {"time zone", p.Timezone}, {"window", dash(p.Window)}, {"jitter", "up to " + span(p.Jitter)}, {"at most", span(p.MaxDuration)}}
	if p.NextRun != nil {
		rows = append(rows, []string{"next run", k.moment(p.NextRun.Time, local)})
	}
	asked := "as each machine says"
	if p.Consistency != "" {
		asked = p.Consistency + ", otherwise " + p.Otherwise
	}
	trash := "as the vault says"
	if p.TrashDays > 0 {
		trash = count(p.TrashDays, "day")
	}
	rows = append(rows, []string{"consistency", asked}, []string{"keep", policy.Retention(p.Keep).String()}, []string{"in the trash", trash}, []string{"RPO", span(p.RPO)})
	return append(rows, effortRows(p)...)
}

// findPolicy finds a policy, and says what is near where there is none.
func findPolicy(ctx context.Context, v *blockstore.Vault, name string) (blockstore.Policy, error) {
	p, err := v.Policy(ctx, name)
	if err == nil {
		return p, nil
	}
	all, _ := v.Policies(ctx) // only for the hint
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	return p, noPolicy(err, name, names)
}

func policyRemoveCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "remove",
		Usage:       "remove a policy",
		ArgsUsage:   "POLICY",
		Description: "Removes a policy. Machines and points stay; those that no other policy is for are neither backed up\nby themselves nor pruned any more.",
		UsageText:   "holdfast policy remove nightly --vault /srv/vault",
		Flags:       waitFlags(),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "POLICY")
			if err != nil {
				return err
			}
			path, err := k.vaultPath(c)
			if err != nil {
				return err
			}
			return k.withPolicies(c.Context, path, func(book policyBook) error {
				if _, err := book.text(c.Context, args[0]); err != nil {
					return err
				}
				return k.changing(c, func(w *worker) error {
					if err := w.RemovePolicy(c.Context, w.vault, args[0]); err != nil {
						return err
					}
					k.printf("policy %s is removed\n", args[0])
					return nil
				})
			})
		},
	}
}
