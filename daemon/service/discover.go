package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/quiesce/libvirt"
	"github.com/holdfast-backup/holdfast/quiesce/procs"
)

// Discovering says where to look for VMs.
type Discovering struct {
	URI      string               // of libvirt; "": the host's own, if there is one
	Machines []blockstore.Machine // of a vault, to tell which VMs are protected; may be nil
}

// askTimeout is how long one VM may take to answer where many are asked.
const askTimeout = 5 * time.Second

// Discover finds the VMs of this host: libvirt's domains, running or not, and the QEMU
// processes beside it. What could not be asked is said with each; the error is about
// libvirt as a whole, and comes with what else was found.
func Discover(ctx context.Context, d Discovering) ([]api.FoundVM, error) {
	found, err := d.domains(ctx)
	if (errors.Is(err, libvirt.ErrNoVirsh) || errors.Is(err, libvirt.ErrNoHost)) && d.URI == "" {
		err = nil // a host without libvirt
	}
	processes, procErr := d.processes(ctx)
	found = append(found, processes...)
	taken := map[string]bool{}
	for _, m := range d.Machines {
		taken[m.Name] = true
	}
	for i := range found {
		if found[i].Machine != "" {
			found[i].Suggested = found[i].Machine
			continue
		}
		found[i].Suggested = backup.SafeName(found[i].Name, 64, func(s string) bool { return taken[s] })
		taken[found[i].Suggested] = true
	}
	return found, errors.Join(err, procErr)
}

func (d Discovering) domains(ctx context.Context) ([]api.FoundVM, error) {
	host, err := libvirt.Connect(ctx, d.URI)
	if err != nil {
		return nil, err
	}
	infos, err := host.Domains(ctx)
	if err != nil {
		return nil, err
	}
	var found []api.FoundVM
	for _, i := range infos {
		f := api.FoundVM{Name: i.Name, UUID: i.UUID, Kind: string(blockstore.KindLibvirt), State: string(i.State), URI: host.URI(), Agent: string(i.Agent), Disks: []api.VMDisk{}, Tags: i.Tags}
		for _, disk := range i.Disks {
			f.Disks = append(f.Disks, api.VMDisk{Name: disk.Name, Source: disk.Source.String(), Format: disk.Format, Size: disk.Size, LeftOut: disk.LeftOut})
		}
		f.Machine = d.machineOf(func(p *blockstore.Protection) bool {
			return p.Libvirt != nil && p.Libvirt.UUID == i.UUID
		})
		found = append(found, f)
	}
	return found, nil
}

func (d Discovering) machineOf(fits func(*blockstore.Protection) bool) string {
	for _, m := range d.Machines {
		if m.Protected != nil && fits(m.Protected) {
			return m.Name
		}
	}
	return ""
}

// processes finds QEMU processes that are not libvirt's, whose monitors are libvirt's alone.
func (d Discovering) processes(ctx context.Context) ([]api.FoundVM, error) {
	list, err := procs.List()
	if err != nil {
		return nil, err
	}
	found := make([]*api.FoundVM, len(list))
	var g errgroup.Group
	g.SetLimit(4)
	for i := range list {
		if list[i].Libvirt {
			continue
		}
		g.Go(func() error {
			f := d.process(ctx, &list[i])
			found[i] = &f
			return nil
		})
	}
	g.Wait()
	var all []api.FoundVM
	for _, f := range found {
		if f != nil {
			all = append(all, *f)
		}
	}
	return all, nil
}

// process asks a process through its monitor or, where that does not answer, says what its
// command line tells.
func (d Discovering) process(ctx context.Context, p *procs.Process) api.FoundVM {
	f := api.FoundVM{Name: p.Name, UUID: p.UUID, Kind: string(blockstore.KindQEMU), State: "running", PID: p.PID, Disks: []api.VMDisk{}}
	if len(p.Agents) > 0 {
		f.QGA = p.Agents[0]
	}
	for _, disk := range p.Disks {
		f.Disks = append(f.Disks, api.VMDisk{Name: disk.ID, Source: disk.File, Format: disk.Format})
	}
	if len(p.QMP) == 0 {
		f.Unclear = "it has no QMP socket: start it with -qmp unix:PATH,server=on,wait=off to back it up while it runs"
		return f
	}
	f.QMP = p.QMP[0]
	f.Machine = d.machineOf(func(m *blockstore.Protection) bool { return m.QEMU != nil && m.QEMU.QMP == f.QMP })
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := askProcess(ctx, &f); err != nil {
		f.Unclear = fmt.Sprintf("from its command line alone: %v", err)
	}
	return f
}

func askProcess(ctx context.Context, f *api.FoundVM) error {
	vm, err := backup.Reaching{}.Open(ctx, &blockstore.Protection{QEMU: &blockstore.QEMUVM{QMP: f.QMP, QGA: f.QGA}})
	if err != nil {
		return err
	}
	defer vm.Close()
	facts, err := vm.Facts(ctx)
	if err != nil {
		return err
	}
	disks, err := vm.Disks(ctx)
	if err != nil {
		return err
	}
	f.State, f.Name, f.UUID = facts.Status, facts.VM.Name, facts.VM.UUID
	if f.QGA != "" {
		f.Agent = map[bool]string{true: "connected", false: "disconnected"}[facts.Agent]
	}
	f.Disks = []api.VMDisk{}
	for _, d := range disks {
		f.Disks = append(f.Disks, api.VMDisk{Name: d.Name, Source: d.Source, Format: d.Format, Size: d.Size, LeftOut: d.LeftOut})
	}
	return nil
}
