package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
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
			vaultRebuildIndexCommand(k), vaultSalvageCommand(k), vaultTrustClockCommand(k)},
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
			if _, err := takeArgs(c); err != nil {
				return err
			}
			how, err := k.listing(c)
			if err != nil {
				return err
			}
			return vaultInfo(c.Context, k, how)
		},
	}
}

// listing is how a command that only looks was asked to show what it finds.
type listing struct {
	vault string // path
	json  bool
	local bool // times of the wall clock
}

// listing reads the vault and the flags of a command that only looks.
func (k *console) listing(c *cli.Context) (listing, error) {
	path, err := k.vaultPath(c)
	return listing{path, c.Bool("json"), c.Bool("local")}, err
}

// vaultInfo prints what the vault is and how much lies in it.
func vaultInfo(ctx context.Context, k *console, o listing) error {
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	points, unread := v.Points(ctx)
	st, err := v.Standing()
	unread = errors.Join(unread, err)
	held, err := v.Held(time.Now())
	unread = errors.Join(unread, err)
	info := api.VaultInfo{Vault: service.DescribeVault(v.Info()), Points: len(points)}
	if info.Trash, info.Locked, err = setAside(ctx, v, points); err != nil {
		unread = errors.Join(unread, err)
	}
	machines := map[blockstore.MachineID]bool{}
	for _, p := range points {
		machines[p.Machine] = true
		t := api.At(p.Time)
		if info.Oldest == nil || t.Before(info.Oldest.Time) {
			info.Oldest = &t
		}
		if info.Newest == nil || t.After(info.Newest.Time) {
			info.Newest = &t
		}
	}
	info.Machines = len(machines)
	info.Owner, info.CopyOf = service.DescribeOwner(st.Owner, st.OtherHost), st.CopyOf
	if held != nil {
		t := api.At(held.Until)
		info.HeldUntil = &t
	}
	if info.SizeOnDisk, info.Free, err = occupied(ctx, o.vault); err != nil {
		return errors.Join(unread, err)
	}
	if o.json {
		return errors.Join(k.json(info), unread)
	}
	return errors.Join(showVault(k, info, o.local), unread)
}

// setAside counts the points in the trash, and those that are locked, there or
// not.
func setAside(ctx context.Context, v *blockstore.Vault, listed []*blockstore.Point) (trash, locked int, err error) {
	deleted, err := v.Trash(ctx)
	for _, p := range slices.Concat(listed, deleted) {
		s, e := v.State(p)
		if s.Locked(time.Now()) {
			locked++
		}
		err = errors.Join(err, e)
	}
	return len(deleted), locked, err
}

func showVault(k *console, v api.VaultInfo, local bool) error {
	rows := [][]string{
		{"vault", v.Name}, {"path", v.Path}, {"id", v.ID},
		{"created", k.moment(v.Created.Time, local)},
		{"block size", formatSize(int64(v.BlockSize))}, {"compression", v.Codec},
		{"encrypted", yesNo(v.Encrypted)},
		{"machines", strconv.Itoa(v.Machines)}, {"points", strconv.Itoa(v.Points)},
		{"in the trash", fmt.Sprintf("%d, for %d days each", v.Trash, v.TrashDays)}, {"locked", strconv.Itoa(v.Locked)},
	}
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
		rows = append(rows, []string{"owner", host}, []string{"writer", o.Writer},
			[]string{"last opened", fmt.Sprintf("%s by pid %d (%s)", k.moment(o.Opened.Time, local), o.PID, o.Command)})
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

// occupied adds up what the files under path take, and says what is free in
// their file system. A file that goes meanwhile is not counted.
func occupied(ctx context.Context, path string) (used, free int64, err error) {
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		var st syscall.Stat_t
		if err == nil {
			err = syscall.Lstat(name, &st)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		used += st.Blocks * 512
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("add up the files of vault %s: %w", path, err)
	}
	var fsys syscall.Statfs_t
	if err := syscall.Statfs(path, &fsys); err != nil {
		return 0, 0, fmt.Errorf("ask for the free space of vault %s: %w", path, err)
	}
	return used, int64(fsys.Bavail) * fsys.Bsize, nil
}
