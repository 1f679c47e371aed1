package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// RunMachine makes one recovery point of a protected machine, on or off. Failures that may
// pass are tried again; each such attempt is a warning. Errors: blockstore.ErrMachineHeld,
// *IdentityError, ErrGone, ErrNotProtected, and what the VM, the vault and ctx say. When it
// returns, nothing of the run is left in the VM but the bitmap of its newest point, or the error
// says so.
func RunMachine(ctx context.Context, owner *blockstore.Owner, q MachineRequest) (*Result, error) {
	name := q.Machine.Name
	if q.Machine.Protected == nil {
		return nil, fmt.Errorf("back up %s: the machine %w: say how with --disk, or once and for all with `holdfast protect`", name, ErrNotProtected)
	}
	if q.Retries == nil {
		q.Retries = usualRetries
	}
	var warnings []string
	for attempt := 0; ; attempt++ {
		r := &machineRun{MachineRequest: q, owner: owner}
		err := r.once(ctx)
		if err == nil {
			r.result.Warnings = append(warnings, r.result.Warnings...)
			return &r.result, nil
		}
		err = fmt.Errorf("back up %s: %w", name, err)
		if ctx.Err() != nil || attempt == len(q.Retries) || !transient(err) {
			return nil, err
		}
		warnings = append(warnings, fmt.Sprintf("attempt %d failed and was repeated: %v", attempt+1, err))
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(q.Retries[attempt]):
		}
	}
}

// machineRun is one attempt.
type machineRun struct {
	MachineRequest
	owner  *blockstore.Owner
	facts  Facts
	held   bool // the guest was held still for the snapshot
	result Result

	total, done int64 // bytes
	sizes       blockstore.Sizes
}

func (r *machineRun) once(ctx context.Context) (err error) {
	if err := r.owner.CheckHeld(r.Machine); err != nil {
		return err
	}
	r.phase(PhaseClean)
	vm, err := r.Open(ctx, r.Machine.Protected)
	if err != nil {
		return err
	}
	defer func() {
		if e := vm.Close(); e != nil && err != nil {
			err = errors.Join(err, e)
		}
	}()
	if r.facts, err = vm.Facts(ctx); err != nil {
		return err
	}
	if err := r.identify(); err != nil {
		return err
	}
	live, ok := vm.(LiveVM)
	if ok && r.facts.On {
		err = r.live(ctx, live)
	} else {
		err = r.off(ctx, vm)
	}
	if err == nil {
		r.remember(ctx, vm)
	}
	return err
}

func (r *machineRun) identify() error {
	then := r.Machine.Protected.VM
	renamed, err := Identify(r.Machine.Name, then, r.facts.VM)
	if renamed {
		r.note("the VM was called %q and is called %q now", then.Name, r.facts.VM.Name)
	}
	return err
}

// remember notes in the machine's record what is new about its VM. The point is safe by then.
func (r *machineRun) remember(ctx context.Context, vm VM) {
	now := *r.Machine.Protected
	if r.facts.VM.Name != "" {
		now.VM.Name = r.facts.VM.Name
	}
	if k, ok := vm.(interface{ Remember() []blockstore.ImageDisk }); ok {
		if images := k.Remember(); len(images) > 0 {
			now.Images = images
		}
	}
	if sameMemory(&now, r.Machine.Protected) {
		return
	}
	_, err := r.owner.NoteVM(context.WithoutCancel(ctx), r.Machine.ID, func(p *blockstore.Protection) { p.VM.Name, p.Images = now.VM.Name, now.Images })
	if err != nil {
		r.warn("the point was made, but not noted what its VM is called and where its disks lie now: %v", err)
	}
}

func sameMemory(a, b *blockstore.Protection) bool {
	if a.VM.Name != b.VM.Name || len(a.Images) != len(b.Images) {
		return false
	}
	for i := range a.Images {
		if fmt.Sprint(a.Images[i]) != fmt.Sprint(b.Images[i]) {
			return false
		}
	}
	return true
}

func (r *machineRun) phase(name string) {
	if r.Progress != nil {
		r.Progress(Progress{Phase: name, Done: r.done, Total: r.total, Sizes: r.sizes})
	}
}

func (r *machineRun) warn(format string, args ...any) {
	r.result.Warnings = append(r.result.Warnings, fmt.Sprintf(format, args...))
}

func (r *machineRun) note(format string, args ...any) {
	r.result.Notes = append(r.result.Notes, fmt.Sprintf(format, args...))
}
