package service

import (
	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// DescribePoint returns p as programs see it.
func DescribePoint(p *blockstore.Point) api.Point {
	a := api.Point{
		ID: string(p.ID), Machine: p.MachineName, MachineID: string(p.Machine),
		Time: api.At(p.Time), Committed: api.At(p.Committed), Seq: p.Seq, Parent: string(p.Parent),
		Writer: string(p.Writer), Tool: p.Tool,
		Consistency: string(p.Reached), ConsistencyAsked: string(p.Asked), ConsistencyReason: p.Reason,
		Sizes: describeSizes(p.Sizes),
		Disks: make([]api.Disk, 0, len(p.Disks)), Config: make([]api.ConfigFile, 0, len(p.Config)),
		LeftOut: make([]api.LeftOut, 0, len(p.LeftOut)),
	}
	a.VM, a.Quiesced = describeVM(p.VM), describeQuiesced(p.Quiesced)
	for i := range p.Disks {
		a.Disks = append(a.Disks, describeDisk(&p.Disks[i]))
	}
	for _, c := range p.Config {
		a.Config = append(a.Config, api.ConfigFile{Name: c.Name, Size: c.Size})
	}
	for _, l := range p.LeftOut {
		a.LeftOut = append(a.LeftOut, api.LeftOut{Name: l.Name, Size: l.Size, Reason: l.Reason})
	}
	return a
}

// DescribePoints returns points as programs see them; none is an empty list.
func DescribePoints(points []*blockstore.Point) []api.Point {
	all := make([]api.Point, 0, len(points))
	for _, p := range points {
		all = append(all, DescribePoint(p))
	}
	return all
}

// describeDisk returns d as programs see it. Its identity and the root of its
// map are the vault's own affair.
func describeDisk(d *blockstore.DiskInfo) api.Disk {
	return api.Disk{
		Name: d.Name, Size: d.Size, Format: d.Format, Source: d.Source,
		LogicalSector: d.LogicalSector, PhysicalSector: d.PhysicalSector,
		Serial: d.Serial, Bus: d.Bus, BootOrder: d.BootOrder, Mode: string(d.Mode), ModeReason: d.Reason,
		Sizes: describeSizes(d.Sizes),
	}
}

// describeSizes returns s as programs see it.
func describeSizes(s blockstore.Sizes) api.Sizes { return api.Sizes(s) }

// DescribeVault returns v as programs see it.
func DescribeVault(v blockstore.VaultInfo) api.Vault {
	return api.Vault{
		ID: string(v.ID), Name: v.Name, Path: v.Path, BlockSize: v.BlockSize, Codec: v.Codec,
		Encrypted: v.Sealed, Created: api.At(v.Created), TrashDays: v.TrashDays,
	}
}

// DescribeOwner returns an owner as programs see it, nil when nobody is known.
func DescribeOwner(o blockstore.Ownership, otherHost bool) *api.Owner {
	if o.Writer == "" {
		return nil
	}
	return &api.Owner{
		Writer: string(o.Writer), Host: o.Host, ThisHost: !otherHost, PID: o.PID, Command: o.Command,
		Opened: api.At(o.Opened), Ended: o.Clean,
	}
}

// DescribeCheck returns what a check found as programs see it. data says
// whether every block was read.
func DescribeCheck(r *blockstore.CheckReport, data bool) api.Check {
	c := api.Check{
		Data: data, Points: r.Points, Pages: r.Pages, Blocks: r.Blocks, Packs: r.Packs,
		Segments: r.Segments, BytesRead: r.BytesRead, Faults: make([]api.Fault, 0, len(r.Faults)),
	}
	for _, f := range r.Faults {
		c.Faults = append(c.Faults, api.Fault{Where: f.Where, What: f.What, Harms: describeHarms(f.Harms)})
	}
	if !r.ReadSince.IsZero() {
		at := api.At(r.ReadSince)
		c.ReadSince = &at
	}
	return c
}

func describeHarms(harms []blockstore.Harm) []api.Harm {
	all := make([]api.Harm, 0, len(harms))
	for _, h := range harms {
		all = append(all, api.Harm{
			Machine: h.Machine, Point: string(h.Point), Disk: h.Disk, Offset: h.Offset, Length: h.Length,
		})
	}
	return all
}

// DescribeSalvage returns what was salvaged as programs see it.
func DescribeSalvage(r *blockstore.SalvageReport) api.Salvage {
	s := api.Salvage{
		Vault: DescribeVault(r.Vault), Points: r.Points, Packs: r.Packs, Records: r.Records, Bytes: r.Bytes, Bad: r.Bad,
		Harmed: make([]api.HarmedPoint, 0, len(r.Harmed)), Lost: make([]api.LostFile, 0, len(r.Lost)),
	}
	for _, h := range r.Harmed {
		s.Harmed = append(s.Harmed, api.HarmedPoint{
			Machine: h.Point.MachineName, Point: string(h.Point.ID), Time: api.At(h.Point.Time), Kept: h.Kept, Lost: describeHarms(h.Lost),
		})
	}
	for _, f := range r.Lost {
		s.Lost = append(s.Lost, api.LostFile{Where: f.Where, What: f.What})
	}
	return s
}

// DescribeKeys returns the keys of a vault as programs see them.
func DescribeKeys(keys []blockstore.Key) []api.Key {
	list := make([]api.Key, 0, len(keys))
	for _, k := range keys {
		list = append(list, api.Key{ID: k.ID, Kind: k.Kind, Recipient: k.Recipient, Note: k.Note, Added: api.At(k.Added)})
	}
	return list
}
