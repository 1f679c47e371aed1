package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func vaultCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "vault",
		Usage: "make a vault, and look after it",
		Subcommands: []*cli.Command{vaultCreateCommand(k), vaultInfoCommand(k), vaultKeyCommand(k), vaultCopyCommand(k), vaultHoldSweepCommand(k), vaultTakeoverCommand(k),
			vaultRebuildIndexCommand(k), vaultSalvageCommand(k), vaultTrustClockCommand(k), vaultUpgradeCommand(k)},
	}
}

func vaultInfoCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "info",
		Usage:       "say what a vault is and how much lies in it",
		Description: "Prints the vault's name, id, block size and age, how many machines and recovery\npoints it holds, what its files take up, and which host writes into it.",
		UsageText:   "holdfast vault info --vault /srv/vault",
		Flags:       []cli.Flag{jsonFlag(), localFlag()},
		Action: func(c *cli.Context) error {
			_, how, err := k.looking(c)
			if err != nil {
				return err
			}
			return vaultInfo(c.Context, k, how)
		},
	}
}

// vaultInfo prints what the vault is and how much lies in it.
func vaultInfo(ctx context.Context, k *console, o listing) error {
	if w := k.reader(ctx, o.vault); w != nil {
		defer w.close()
		return askVault(ctx, k, w, o)
	}
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	info, unread := service.DescribeVaultInfo(ctx, v, time.Now())
	return printVault(k, o, info, unread)
}

// askVault has a daemon tell what a vault is and holds.
func askVault(ctx context.Context, k *console, w *worker, o listing) error {
	all, err := w.Vaults(ctx)
	for _, info := range all {
		if info.ID != w.vault {
			continue
		}
		if info.Path == "" && !o.json {
			k.say("note: paths and processes of the daemon's host are shown to who may restore all machines; an admin grants that with `holdfast grant NAME restore`")
		}
		return printVault(k, o, info, err)
	}
	return errors.Join(err, fmt.Errorf("vault %s: %w by the daemon", o.vault, blockstore.ErrNotFound))
}

// printVault prints it, and returns unread.
func printVault(k *console, o listing, info api.VaultInfo, unread error) error {
	if o.json {
		return errors.Join(k.json(info), unread)
	}
	return errors.Join(showVault(k, info, o.local), unread)
}

func showVault(k *console, v api.VaultInfo, local bool) error {
	rows := [][]string{
		{"vault", v.Name}, {"path", v.Path}, {"id", v.ID},
	}
	if v.Path == "" { // this user is not told
		rows = slices.Delete(rows, 1, 2)
	}
	rows = append(rows, [][]string{
		{"created", k.moment(v.Created.Time, local)},
		{"block size", formatSize(int64(v.BlockSize))}, {"compression", v.Codec},
		{"encrypted", yesNo(v.Encrypted)},
		{"machines", strconv.Itoa(v.Machines)}, {"points", strconv.Itoa(v.Points)},
		{"in the trash", fmt.Sprintf("%d, for %d days each", v.Trash, v.TrashDays)}, {"locked", strconv.Itoa(v.Locked)},
	}...)
	if v.Oldest != nil {
		rows = append(rows, []string{"oldest point", k.moment(v.Oldest.Time, local)}, []string{"newest point", k.moment(v.Newest.Time, local)})
	}
	rows = append(rows, ownerRows(k, v, local)...)
	return k.table(append(rows, []string{"size on disk", formatSize(v.SizeOnDisk)}, []string{"free there", formatSize(v.Free)}))
}

// ownerRows say whose the vault is, and what holds it.
func ownerRows(k *console, v api.VaultInfo, local bool) (rows [][]string) {
	if o := v.Owner; o != nil {
		host := o.Host
		if o.ThisHost {
			host += " (this host)"
		}
		opened := k.moment(o.Opened.Time, local)
		if o.PID != 0 {
			opened += fmt.Sprintf(" by pid %d (%s)", o.PID, o.Command)
		}
		rows = append(rows, []string{"owner", host}, []string{"writer", o.Writer}, []string{"last opened", opened})
	}
	if v.CopyOf != "" {
		rows = append(rows, []string{"copy of", v.CopyOf})
	}
	if v.HeldUntil != nil {
		rows = append(rows, []string{"held until", k.moment(v.HeldUntil.Time, local)})
	}
	return rows
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
