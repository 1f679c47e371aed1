package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
)

// protecting is the protection of a machine, under way.
type protecting struct {
	api.ProtectRequest
	record blockstore.Protection
	vm     backup.VM
}

// protect examines the VM, which the owner's vault need not be open for, notes it there and says
// what backups will cost.
func protect(ctx context.Context, r api.ProtectRequest, own func(func(*blockstore.Owner) error) error) (result api.Protect, err error) {
	p := protecting{ProtectRequest: r}
	if c, ok := api.CallerOf(ctx); ok && !c.Trusted {
		if what := reachesHost(r); what != "" {
			return result, &NotAllowed{"protect a machine: " + what + " may be named by who has the daemon's own rights alone",
				"a domain of this host's libvirt needs none of that; or run the command as root"}
		}
	}
	if p.record, err = protectionOf(r); err != nil {
		return result, err
	}
	if r.Domain != "" {
		if err := findDomain(ctx, &p.record, r.Protection.URI, r.Domain); err != nil {
			return result, err
		}
	}
	if p.vm, err = (backup.Reaching{}).Open(ctx, &p.record); err != nil {
		return result, err
	}
	defer p.vm.Close()
	err = own(func(o *blockstore.Owner) error {
		newest, err := p.known(ctx, o)
		if err != nil {
			return err
		}
		e, err := Examine(ctx, p.vm, &p.record, newest)
		if err != nil {
			return err
		}
		result, err = p.note(ctx, o, e)
		return err
	})
	return result, err
}

// known compares the VM with the one that the machine stood for before, if there is one, and
// returns the bitmap of its newest point.
func (p *protecting) known(ctx context.Context, o *blockstore.Owner) (string, error) {
	if p.Name == "" {
		return "", nil
	}
	m, err := o.Machine(ctx, p.Name)
	if errors.Is(err, blockstore.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if m.Protected != nil {
		p.record.Since = m.Protected.Since
	}
	return NewestBitmap(ctx, o.Vault, m.ID)
}

// note writes the machine's record.
func (p *protecting) note(ctx context.Context, o *blockstore.Owner, e *Examination) (result api.Protect, err error) {
	r := &p.record
	kind := r.VM.Kind
	if r.VM = e.Facts.VM; r.VM.Kind == "" {
		r.VM.Kind = kind
	}
	r.VM.Host, r.Windows = "", e.Windows
	if r.Consistency == "" {
		result.Why = e.ChooseConsistency(r)
	}
	if r.Since.IsZero() {
		r.Since = time.Now().UTC().Truncate(time.Second)
	}
	if remembers, ok := p.vm.(interface{ Remember() []blockstore.ImageDisk }); ok && r.QEMU != nil {
		r.Images = remembers.Remember()
	}
	if r.ExcludedAt, err = backup.WhereExcluded(ctx, p.vm, r.Exclude); err != nil {
		return result, err
	}
	if p.Name == "" {
		machines, err := o.Machines(ctx)
		if err != nil {
			return result, err
		}
		p.Name = backup.SafeName(r.VM.Name, 64, func(s string) bool {
			return slices.ContainsFunc(machines, func(m blockstore.Machine) bool { return m.Name == s && !standsFor(m, r) })
		})
	}
	if before, err := o.Machine(ctx, p.Name); err == nil && before.Protected != nil && !p.NewVM {
		if _, err := backup.Identify(p.Name, before.Protected.VM, r.VM); err != nil {
			return result, err
		}
	}
	m, err := o.Protect(ctx, p.Name, *r)
	if err != nil {
		return result, err
	}
	result.Machine, result.Plan, result.LeftOut = describeMachine(m), DescribePlans(e.Plan), DescribeLeftOut(e.LeftOut)
	result.Machine.State = e.Facts.Status
	result.Warnings = ProtectWarnings(r, e)
	return result, nil
}

// standsFor tells whether a machine is the VM of a record already.
func standsFor(m blockstore.Machine, r *blockstore.Protection) bool {
	return m.Protected != nil && r.VM.UUID != "" && m.Protected.VM.UUID == r.VM.UUID
}

// ProtectWarnings are what a person should know of a VM that is to be protected so.
func ProtectWarnings(r *blockstore.Protection, e *Examination) []string {
	warnings := []string{}
	if r.Windows && !r.AcceptVSS && r.Consistency != blockstore.Crash {
		warnings = append(warnings, VSSWarning)
	}
	for _, name := range e.Unknown {
		warnings = append(warnings, fmt.Sprintf("disk %s is to be left out, and the VM has no such disk now", name))
	}
	if r.Consistency != blockstore.Crash && e.Agent != nil && e.Facts.On {
		warnings = append(warnings, fmt.Sprintf("consistency %s needs the guest agent, and none answers now: %v", r.Consistency, e.Agent))
	}
	for _, p := range e.Plan {
		if p.Refusal != "" {
			warnings = append(warnings, fmt.Sprintf("disk %s cannot be backed up as it is: %s", p.Name, p.Refusal))
		}
	}
	return warnings
}
