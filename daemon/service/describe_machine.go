package service

import (
	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
)

// describeMachine returns m as programs see it; its points and state are added by
// whoever knows them.
func describeMachine(m blockstore.Machine) api.Machine {
	a := api.Machine{ID: string(m.ID), Name: m.Name, Protected: m.Protected != nil}
	if m.Protected != nil {
		p := describeProtection(m.Protected)
		a.Protection = &p
	}
	return a
}

func describeProtection(p *blockstore.Protection) api.Protection {
	a := api.Protection{
		Since: api.At(p.Since), Kind: string(p.Kind()), VM: p.VM.Name, UUID: p.VM.UUID, Images: make([]api.ImageDisk, 0, len(p.Images)),
		Exclude: append([]string{}, p.Exclude...), Shareable: p.Shareable, Consistency: string(p.Consistency), Otherwise: "fail",
		FreezeTimeout: p.FreezeLimit().Seconds(), Mounts: append([]string{}, p.Mounts...), Hooks: make([]api.Hook, 0, len(p.Hooks)),
		RawBitmaps: p.RawBitmaps, Samples: p.Samples, Scratch: p.Scratch, Windows: p.Windows, AcceptVSS: p.AcceptVSS,
	}
	if p.FallBack {
		a.Otherwise = "fall-back"
	}
	if p.Samples == 0 {
		a.Samples = backup.UsualSamples
	}
	if p.Libvirt != nil {
		a.URI = p.Libvirt.URI
	}
	if p.QEMU != nil {
		a.QMP, a.QGA = p.QEMU.QMP, p.QEMU.QGA
	}
	for _, i := range p.Images {
		a.Images = append(a.Images, api.ImageDisk{Name: i.Name, Path: i.Path, Format: i.Format, Backing: append([]string{}, i.Backing...), Unreadable: i.Unreadable})
	}
	for _, h := range p.Hooks {
		place := "host"
		if h.Guest {
			place = "guest"
		}
		a.Hooks = append(a.Hooks, api.Hook{Place: place, Pre: h.Pre, Post: h.Post, ContinueOnFailure: h.GoOn, Timeout: float64(h.Limit) / 1000})
	}
	return a
}

// DescribePlans returns plans as programs see them.
func DescribePlans(plans []backup.DiskPlan) []api.DiskPlan {
	all := make([]api.DiskPlan, 0, len(plans))
	for _, p := range plans {
		all = append(all, api.DiskPlan{Name: p.Name, Mode: string(p.Mode), Reason: p.Reason, Size: p.Size, ToRead: p.ToRead,
			Scratch: p.Scratch, Warning: p.Warning, Refusal: p.Refusal})
	}
	return all
}

// DescribeLeftOut returns disks that are left out as programs see them.
func DescribeLeftOut(left []blockstore.LeftOut) []api.LeftOut {
	all := make([]api.LeftOut, 0, len(left))
	for _, l := range left {
		all = append(all, api.LeftOut{Name: l.Name, Size: l.Size, Reason: l.Reason})
	}
	return all
}

func describeVM(v *blockstore.VM) *api.VM {
	if v == nil {
		return nil
	}
	return &api.VM{UUID: v.UUID, Name: v.Name, Kind: string(v.Kind), Host: v.Host}
}

func describeQuiesced(q *blockstore.Quiesced) *api.Quiesced {
	if q == nil {
		return nil
	}
	a := &api.Quiesced{WindowMS: q.WindowMS, Agent: q.Agent, Hooks: make([]api.HookResult, 0, len(q.Hooks))}
	for _, h := range q.Hooks {
		r := api.HookResult{Command: h.Command, Place: "host", Phase: "pre", Error: h.Error, Seconds: float64(h.Millis) / 1000}
		if h.Guest {
			r.Place = "guest"
		}
		if h.After {
			r.Phase = "post"
		}
		a.Hooks = append(a.Hooks, r)
	}
	return a
}
