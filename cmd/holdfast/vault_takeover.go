package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func vaultTakeoverCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "takeover",
		Usage: "make this host the one that writes into a vault",
		Description: `For a vault whose host is gone, or that is a copy. Make sure that the host before does
not write into it any more: if it still does, it fails at its next commit. A copy of a
vault that can be seen from here gets an id of its own, so that the two are told apart;
--new-id gives one to any other copy. A sealed vault that is not the one that this host wrote
at its path before is known to it from then on. It asks for the vault's name, or --yes.`,
		UsageText: "holdfast vault takeover --vault /mnt/rescued/vault",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
			&cli.BoolFlag{Name: "new-id", Usage: "this is a copy of a vault that lives on elsewhere: give it an id of its own"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			path, err := k.vaultPath(c)
			if err != nil {
				return err
			}
			return takeOver(c.Context, k, takeOverOptions{path, c.Bool("yes"), c.Bool("new-id"), c.Bool("json")})
		},
	}
}

type takeOverOptions struct {
	vault            string
	yes, newID, json bool
}

// takeOver makes this host the owner of a vault, after a person confirmed it.
func takeOver(ctx context.Context, k *console, o takeOverOptions) error {
	info, st, err := standingOf(ctx, k, o.vault)
	if err != nil {
		return err
	}
	if st.Owner.Writer != "" && !st.OtherHost && st.CopyOf == "" && st.Other == nil && !o.newID {
		if o.json {
			return k.json(api.TakeOver{Vault: service.DescribeVault(info)})
		}
		k.printf("vault %s belongs to this host already\n", info.Name)
		return nil
	}
	k.say("%s", takeOverMeans(info, st))
	if err := k.confirm(o.yes, info.Name, fmt.Sprintf("this host becomes the owner of vault %s", info.Name)); err != nil {
		return err
	}
	open, err := k.vaultOptions(ctx)
	if err != nil {
		return err
	}
	giveBack, err := k.borrow(ctx, o.vault, 0)
	if err != nil {
		return err
	}
	defer giveBack()
	t, err := blockstore.TakeOver(ctx, o.vault, blockstore.TakeOverOptions{Options: open, NewID: o.newID})
	if err != nil {
		return orUnreachable(o.vault, err)
	}
	if o.json {
		return k.json(api.TakeOver{Vault: service.DescribeVault(t.Info), From: service.DescribeOwner(t.From, st.OtherHost),
			OldID: string(t.OldID), CopyOf: t.CopyOf})
	}
	k.printf("vault %s belongs to this host now\n", t.Info.Name)
	if t.OldID != "" {
		k.printf("its id is %s; the vault that it is a copy of keeps %s\n", t.Info.ID, t.OldID)
	}
	return nil
}

// standingOf looks whose a vault is.
func standingOf(ctx context.Context, k *console, path string) (blockstore.VaultInfo, blockstore.Standing, error) {
	open, err := k.vaultOptions(ctx)
	if err != nil {
		return blockstore.VaultInfo{}, blockstore.Standing{}, err
	}
	open.Hung = k.hung
	v, err := blockstore.Open(ctx, path, open)
	if err != nil {
		return blockstore.VaultInfo{}, blockstore.Standing{}, orUnreachable(path, err)
	}
	defer v.Close()
	st, err := v.Standing()
	if err != nil {
		k.say("note: who wrote into the vault last cannot be told: %v", err)
	}
	return v.Info(), st, nil
}

// takeOverMeans says whom a take-over replaces.
func takeOverMeans(info blockstore.VaultInfo, st blockstore.Standing) string {
	o := st.Owner
	switch {
	case st.Other != nil:
		return st.Other.Error() + "; it becomes known to this host"
	case o.Writer == "":
		return fmt.Sprintf("vault %s (id %s): nobody is known to have written into it", info.Name, info.ID)
	case st.CopyOf != "":
		return fmt.Sprintf("vault %s (id %s) is a copy of %s, and gets an id of its own", info.Name, info.ID, st.CopyOf)
	}
	if !st.OtherHost {
		return fmt.Sprintf("vault %s (id %s) belongs to this host, and gets another id", info.Name, info.ID)
	}
	left := "and left it in order"
	if !o.Clean {
		left = "and was not seen to end: make sure that it does not run any more"
	}
	return fmt.Sprintf("vault %s (id %s) belongs to host %s since %s: pid %d (%s) opened it then, %s",
		info.Name, info.ID, o.Host, o.Opened.UTC().Format(time.RFC3339), o.PID, o.Command, left)
}
