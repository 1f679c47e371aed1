package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
)

// unprotect cleans the VM first: as long as something of ours may be in it, the machine's
// record says where it is.
func unprotect(ctx context.Context, o *blockstore.Owner, machine string, r api.UnprotectRequest) (api.Unprotect, error) {
	result := api.Unprotect{Removed: []string{}, Notes: []string{}, Warnings: []string{}}
	m, err := FindMachine(ctx, o.Vault, machine)
	if err != nil {
		return result, err
	}
	if m.Protected == nil && !r.DeletePoints {
		return result, Hinted(fmt.Errorf("machine %s %w", m.Name, backup.ErrNotProtected), "--delete-points moves its points to the trash")
	}
	if m.Protected != nil {
		if err := takeOut(ctx, o, m, r, &result); err != nil {
			return result, err
		}
		if m, err = o.Unprotect(ctx, m.ID); err != nil {
			return result, err
		}
	}
	result.Machine = describeMachine(m)
	if r.DeletePoints {
		result.Deleted, err = deleteAll(ctx, o, m.ID)
	}
	return result, err
}

// takeOut takes what is ours out of a VM, as far as it can be reached and the request asks for it.
func takeOut(ctx context.Context, o *blockstore.Owner, m blockstore.Machine, r api.UnprotectRequest, result *api.Unprotect) error {
	removed, err := cleanVM(ctx, o.Vault, m, backup.Reaching{Scratch: ScratchOf(r.Scratch)})
	result.Removed = append(result.Removed, removed...)
	switch {
	case errors.Is(err, backup.ErrGone):
		result.Notes = append(result.Notes, err.Error())
	case err != nil && !r.LeaveBehind:
		return Hinted(fmt.Errorf("unprotect machine %s: what is ours cannot be taken out of its VM: %w", m.Name, err),
			"try again when it answers, or leave it there with --leave-behind; nothing was changed in the vault")
	case err != nil:
		result.Warnings = append(result.Warnings, fmt.Sprintf("what is ours stays in the VM: %v", err))
	}
	return nil
}

// ScratchOf returns what is said of scratch files as backups take it.
func ScratchOf(s api.Scratch) backup.Scratch {
	return backup.Scratch{Folder: s.Folder, Cap: s.Cap, LowWater: s.LowWater}
}

// cleanVM takes all that is this vault's out of a machine's VM, and says what that was. Of
// another VM in its place nothing is ours.
func cleanVM(ctx context.Context, v *blockstore.Vault, m blockstore.Machine, reach backup.Reaching) ([]string, error) {
	vm, err := reach.Open(ctx, m.Protected)
	if err != nil {
		return nil, err
	}
	defer vm.Close()
	facts, err := vm.Facts(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := backup.Identify(m.Name, m.Protected.VM, facts.VM); err != nil {
		return nil, fmt.Errorf("%w: %w", backup.ErrGone, err)
	}
	return backup.TakeOut(ctx, vm, string(v.Info().ID))
}

// deleteAll moves the points of a machine to the trash.
func deleteAll(ctx context.Context, o *blockstore.Owner, id blockstore.MachineID) (deleted int, err error) {
	points, err := o.Points(ctx)
	if err != nil {
		return 0, err
	}
	for _, p := range points {
		if p.Machine != id {
			continue
		}
		if err := errors.Join(ctx.Err(), o.Delete(p)); err != nil {
			return deleted, err
		}
		deleted++
	}
	return deleted, nil
}

func renameMachine(ctx context.Context, o *blockstore.Owner, machine, to string) (api.Machine, error) {
	if err := blockstore.CheckMachineName(to); err != nil {
		return api.Machine{}, invalidf("%s", err.Error())
	}
	m, err := FindMachine(ctx, o.Vault, machine)
	if err != nil {
		return api.Machine{}, err
	}
	m, err = o.RenameMachine(ctx, m.ID, to)
	return describeMachine(m), err
}
