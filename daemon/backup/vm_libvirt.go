package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce"
	"github.com/holdfast-backup/holdfast/quiesce/image"
	"github.com/holdfast-backup/holdfast/quiesce/libvirt"
	"github.com/holdfast-backup/holdfast/quiesce/qemu"
	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// libvirtVM is a domain of libvirt.
type libvirtVM struct {
	domain     *libvirt.Domain
	info       libvirt.DomainInfo
	uri        string
	rawBitmaps bool
	scratch    Scratch
	inUse      bool // images may be in use while it is off
}

// openLibvirt finds the domain that p stands for or, where that is gone, the one that
// has its name now, which is another VM.
func openLibvirt(ctx context.Context, p *blockstore.Protection, o Reaching) (*libvirtVM, error) {
	host, err := libvirt.Connect(ctx, p.Libvirt.URI)
	if err != nil {
		return nil, err
	}
	d, err := host.Domain(ctx, p.Libvirt.UUID)
	if errors.Is(err, libvirt.ErrNotFound) && p.VM.Name != "" {
		d, err = host.Domain(ctx, p.VM.Name)
	}
	if errors.Is(err, libvirt.ErrNotFound) {
		return nil, fmt.Errorf("%w: VM %s is not defined at %s", ErrGone, nameVM(p.VM), p.Libvirt.URI)
	}
	if err != nil {
		return nil, err
	}
	v := &libvirtVM{domain: d, uri: host.URI(), rawBitmaps: p.RawBitmaps, scratch: o.Scratch, inUse: o.AllowInUse}
	v.info, err = d.Info(ctx)
	return v, err
}

// Close is part of VM.
func (v *libvirtVM) Close() error { return nil }

// Facts is part of VM.
func (v *libvirtVM) Facts(context.Context) (Facts, error) {
	return Facts{
		VM: blockstore.VM{UUID: v.info.UUID, Name: v.info.Name, Kind: blockstore.KindLibvirt, Host: "libvirt " + v.domain.Host().Version().String()},
		On: v.info.Active, Status: string(v.info.State), Agent: v.info.Agent == libvirt.AgentConnected,
		Clean: v.info.State == libvirt.Off && v.info.Reason == "shutdown",
	}, nil
}

// Disks is part of VM.
func (v *libvirtVM) Disks(ctx context.Context) ([]VMDisk, error) {
	disks, err := v.domain.Disks(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]VMDisk, 0, len(disks))
	for _, d := range disks {
		all = append(all, fromLibvirt(d))
	}
	return all, nil
}

func fromLibvirt(d libvirt.Disk) VMDisk {
	return VMDisk{
		Name: d.Name, Source: d.Source.String(), Format: d.Format, Size: d.Size, Serial: d.Serial, Bus: d.Bus, BootOrder: d.BootOrder,
		Chain: strings.Split(strings.TrimSpace(d.Identity()), "\n"), Shareable: d.Shareable, LeftOut: d.LeftOut,
		Impossible: d.LeftOut != "" && !d.Shareable,
	}
}

func (v *libvirtVM) cleaning(vault, keep string) libvirt.CleanRequest {
	return libvirt.CleanRequest{Vault: vault, Keep: keep, Scratch: qemu.ScratchOptions(v.scratch), RawBitmaps: v.rawBitmaps}
}

// Clean is part of LiveVM.
func (v *libvirtVM) Clean(ctx context.Context, vault, keep string) ([]string, error) {
	return words(v.domain.Clean(ctx, v.cleaning(vault, keep)))
}

// Leftovers is part of LiveVM.
func (v *libvirtVM) Leftovers(ctx context.Context, vault, keep string) ([]string, error) {
	return words(v.domain.Leftovers(ctx, v.cleaning(vault, keep)))
}

// Plan is part of LiveVM.
func (v *libvirtVM) Plan(ctx context.Context, names []string, parent string) ([]DiskPlan, error) {
	q := v.request(SnapshotRequest{Parent: parent})
	for _, n := range names {
		q.Disks = append(q.Disks, qemu.DiskRequest{Name: n})
	}
	plans, err := v.domain.Plan(ctx, q)
	if err != nil {
		return nil, err
	}
	var all []DiskPlan
	for _, p := range plans {
		all = append(all, DiskPlan{Name: p.Disk.Name, Mode: blockstore.ReadMode(p.Mode), Reason: p.Reason, Size: p.Disk.Size,
			ToRead: p.Bytes, Scratch: p.Scratch, Warning: p.Warning, Refusal: p.Refusal})
	}
	return all, nil
}

func (v *libvirtVM) request(r SnapshotRequest) libvirt.SnapshotRequest {
	q := libvirt.SnapshotRequest{RawBitmaps: v.rawBitmaps}
	q.Parent, q.Point, q.Hold, q.Scratch = r.Parent, r.Point, r.Hold, qemu.ScratchOptions(v.scratch)
	for _, d := range r.Disks {
		q.Disks = append(q.Disks, qemu.DiskRequest{Name: d.Name, Scan: d.Scan})
	}
	return q
}

// Guest is part of LiveVM.
func (v *libvirtVM) Guest(context.Context) (quiesce.Guest, quiesce.Reach, error) {
	switch v.info.Agent {
	case libvirt.NoAgent:
		return nil, quiesce.Reach{}, errors.New("the domain has no channel for a guest agent")
	case libvirt.AgentDisconnected:
		return nil, quiesce.Reach{}, fmt.Errorf("%w: nothing in the guest has opened its channel", qga.ErrAbsent)
	}
	return v.domain.Agent(), quiesce.Reach{URI: v.uri, Domain: v.info.UUID}, nil
}

// libvirtSnapshot makes a snapshot of libvirt's one of ours.
type libvirtSnapshot struct{ *libvirt.Snapshot }

// Snapshot is part of LiveVM.
func (v *libvirtVM) Snapshot(ctx context.Context, r SnapshotRequest) (Snapshot, error) {
	s, err := v.domain.Snapshot(ctx, v.request(r))
	if err != nil {
		return nil, err
	}
	return libvirtSnapshot{s}, nil
}

// Time is part of Snapshot.
func (s libvirtSnapshot) Time() time.Time { return s.Snapshot.Time }

// Disks is part of Snapshot.
func (s libvirtSnapshot) Disks() (disks []SnapshotDisk) {
	for _, d := range s.Snapshot.Disks {
		disks = append(disks, SnapshotDisk{Source: d.Source, Name: d.Name, Mode: blockstore.ReadMode(d.Mode), Reason: d.Reason})
	}
	return disks
}

// Images is part of VM.
func (v *libvirtVM) Images(ctx context.Context, names []string) ([]Disk, error) {
	known, err := v.domain.Disks(ctx)
	if err != nil {
		return nil, err
	}
	var disks []Disk
	for _, name := range names {
		i := slices.IndexFunc(known, func(d libvirt.Disk) bool { return d.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("disk %s: %w", name, blockstore.ErrNotFound)
		}
		disks = append(disks, v.offDisk(known[i]))
	}
	return disks, nil
}

// offDisk reads a disk of the domain while that is off: a plain file by its own means, all
// else through QEMU.
func (v *libvirtVM) offDisk(d libvirt.Disk) Disk {
	plain := d.Source.Local() && d.Source.Encryption == "" && d.Source.SliceLength == 0 && (d.Format == "raw" || d.Format == "qcow2")
	for _, l := range d.Chain {
		plain = plain && l.Source.Local() && l.Source.Encryption == ""
	}
	if plain {
		spec := image.Spec{Path: d.Source.Path, Format: d.Format, AllowInUse: v.inUse}
		for _, l := range d.Chain {
			spec.Backing = append(spec.Backing, l.Source.Path[:strings.LastIndex(l.Source.Path, "/")+1])
		}
		return diskOf(d.Name, d.Source.String(), spec)
	}
	return Disk{Name: d.Name, Source: d.Source.String(), Open: func(ctx context.Context) (Image, error) {
		r, err := v.domain.OpenDisk(ctx, d)
		if err != nil {
			return nil, err
		}
		return &offImage{ImageReader: r, domain: v.domain, format: d.Format}, nil
	}}
}

// Config is part of VM.
func (v *libvirtVM) Config(ctx context.Context, secrets bool) (files []ConfigFile, missing []string) {
	text, err := v.domain.XML(ctx, secrets)
	if err != nil {
		return nil, []string{fmt.Sprintf("the domain's definition: %v", err)}
	}
	files = append(files, ConfigFile{DomainXML, []byte(text)})
	related, missing, err := v.domain.Related(ctx, secrets)
	if err != nil {
		missing = append(missing, fmt.Sprintf("what the domain's definition refers to: %v", err))
	}
	taken := map[string]bool{}
	for _, d := range related {
		name := SafeName(d.Kind+"-"+d.Name, 60, func(s string) bool { return taken[s] })
		taken[name] = true
		files = append(files, ConfigFile{name + ".xml", []byte(d.XML)})
		if len(d.Value) > 0 {
			files = append(files, ConfigFile{name + ".value", d.Value})
		}
	}
	return files, missing
}

// State is part of VM.
func (v *libvirtVM) State(ctx context.Context) (files []ConfigFile, missing []string) {
	f, err := v.domain.Firmware(ctx)
	if err != nil {
		return nil, []string{fmt.Sprintf("NVRAM and TPM state: %v", err)}
	}
	return firmwareFiles(f)
}

func firmwareFiles(f libvirt.Firmware) (files []ConfigFile, missing []string) {
	if f.NVRAM != "" {
		if b, err := readState(f.NVRAM); err != nil {
			missing = append(missing, fmt.Sprintf("NVRAM: %v", err))
		} else {
			files = append(files, ConfigFile{NVRAM, b})
		}
	}
	if f.TPM != "" {
		if b, err := packState(f.TPM, -1); err != nil {
			missing = append(missing, fmt.Sprintf("the state of the TPM: %v", err))
		} else {
			files = append(files, ConfigFile{TPMState, b})
		}
	}
	return files, missing
}
