package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// cleanLimit is how long one machine may take to be freed of what a killed backup left in it.
const cleanLimit = time.Minute

// cleanUp keeps jobs from beginning in vaults of which backups were cut short, until the function that
// it returns has removed from their VMs what these had left: exports, bitmaps, scratch files.
func (d *Daemon) cleanUp(ctx context.Context, unfinished []api.Job) func(context.Context) {
	left := map[string][]string{} // machines by vault
	for _, j := range unfinished {
		d.log.Warn("a job was interrupted by the end of the daemon before", "job", j.ID, "kind", j.Kind, "machine", j.Machine)
		if j.Kind == api.JobBackup {
			left[j.Vault] = append(left[j.Vault], j.Machine)
		}
	}
	var released []func()
	for key := range left {
		released = append(released, d.jobs.Hold(key, "what interrupted backups left in their VMs is removed"))
	}
	return func(ctx context.Context) {
		defer func() {
			for _, release := range released {
				release()
			}
		}()
		var wait sync.WaitGroup
		for key, machines := range left {
			wait.Go(func() {
				for _, m := range machines {
					d.cleanMachine(ctx, key, m)
				}
			})
		}
		wait.Wait()
	}
}

// cleanMachine frees a VM of what is left; a backup of it would do so, too.
func (d *Daemon) cleanMachine(ctx context.Context, key, machine string) {
	ctx, cancel := context.WithTimeout(ctx, cleanLimit)
	defer cancel()
	log := d.log.With("machine", machine)
	h, err := d.vaults.find(key)
	for ; err != nil && ctx.Err() == nil; h, err = d.vaults.find(key) { // its id is known once it is open
		time.Sleep(100 * time.Millisecond)
	}
	if err == nil {
		err = h.awaitOpen(ctx)
	}
	var removed []string
	if err == nil {
		err = h.use(ctx, service.ToNote, func(o *blockstore.Owner) (err error) {
			removed, err = cleanVM(ctx, o, machine)
			return err
		})
	}
	if err != nil {
		log.Warn("what an interrupted backup left in the VM is not removed: its next backup does", "error", err)
		return
	}
	if len(removed) > 0 {
		log.Info("what an interrupted backup left in the VM is removed", "removed", fmt.Sprint(removed))
	}
}

func cleanVM(ctx context.Context, o *blockstore.Owner, machine string) ([]string, error) {
	m, err := o.Machine(ctx, machine)
	if err != nil || m.Protected == nil {
		return nil, err
	}
	points, err := o.Points(ctx)
	if err != nil {
		return nil, err
	}
	var newest *blockstore.Point
	for _, p := range points {
		if p.Machine == m.ID && (newest == nil || p.Compare(newest) > 0) {
			newest = p
		}
	}
	vm, err := backup.Reaching{}.Open(ctx, m.Protected)
	if err != nil {
		return nil, err
	}
	defer vm.Close()
	facts, err := vm.Facts(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := backup.Identify(m.Name, m.Protected.VM, facts.VM); err != nil {
		return nil, err
	}
	live, ok := vm.(backup.LiveVM)
	if !ok || !facts.On {
		return nil, nil
	}
	return live.Clean(ctx, string(o.Info().ID), backup.BitmapSince(o.Info().ID, newest))
}
