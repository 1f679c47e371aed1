package far

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// A daemon is asked for all points again after a while, or where that takes long, so that it is a twentieth of
// the time at most.
const (
	samePoints   = 2 * time.Second
	rarelyPoints = 20
)

// Points returns the points that this user may see. Asked again at once, it returns the same. Whoever may
// see none any more is shown none.
func (v *Vault) Points(ctx context.Context) ([]*blockstore.Point, error) {
	v.mu.Lock()
	before := v.listed
	v.mu.Unlock()
	if time.Now().Before(before.next) {
		return before.points, nil
	}
	began := time.Now()
	var told []api.Point
	err := v.ask(ctx, func() (err error) {
		told, err = v.from.Points(v.purposely(ctx), v.o.Vault, "")
		return err
	})
	if err != nil {
		told = []api.Point{}
	}
	if err != nil && (before.told == nil || !errors.Is(err, fs.ErrPermission)) {
		return nil, err
	}
	l := listing{points: toldPoints(told, ""), told: make(map[blockstore.PointID]api.Point, len(told)), next: time.Now().Add(max(samePoints, rarelyPoints*time.Since(began)))}
	for _, p := range told {
		l.told[blockstore.PointID(p.ID)] = p
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.listed = l
	return l.points, nil
}

// Describe is a point as the daemon told it, without what was added to it since it was made.
func (v *Vault) Describe(p *blockstore.Point) any {
	v.mu.Lock()
	defer v.mu.Unlock()
	told := v.listed.told[p.ID]
	told.Deleted, told.Locked, told.Verified, told.Note = nil, nil, nil, ""
	return told
}

// Find finds the point that ref means.
func (v *Vault) Find(ctx context.Context, ref api.PointRef) (p *blockstore.Point, err error) {
	var told []api.Point
	err = v.ask(ctx, func() error {
		told, err = v.from.Points(v.purposely(ctx), v.o.Vault, ref.Machine)
		return err
	})
	if err != nil {
		return nil, err
	}
	return FindPoint(told, ref)
}

// FindPoint finds the point that ref means among those of its machine, as a daemon told them.
func FindPoint(told []api.Point, ref api.PointRef) (*blockstore.Point, error) {
	found, err := blockstore.FindPoint(toldPoints(told, ref.Machine), ref.Machine, ref.Point)
	if err != nil {
		return nil, err
	}
	for _, t := range told { // as it was called when the point was made
		if t.ID == string(found.ID) {
			found.MachineName = t.Machine
		}
	}
	return found, nil
}

// toldPoints are points as a daemon tells of them; machine is what the machine is called in them, "" as they say.
func toldPoints(told []api.Point, machine string) []*blockstore.Point {
	all := make([]*blockstore.Point, 0, len(told))
	for _, t := range told {
		p := toldPoint(t)
		if machine != "" {
			p.MachineName = machine
		}
		all = append(all, p)
	}
	return all
}

func toldPoint(t api.Point) *blockstore.Point {
	p := &blockstore.Point{ID: blockstore.PointID(t.ID), Machine: blockstore.MachineID(t.MachineID), MachineName: t.Machine, Seq: t.Seq,
		Parent: blockstore.PointID(t.Parent), Time: t.Time.Time, Committed: t.Committed.Time, Writer: blockstore.WriterID(t.Writer), Tool: t.Tool,
		Asked: blockstore.Consistency(t.ConsistencyAsked), Reached: blockstore.Consistency(t.Consistency), Reason: t.ConsistencyReason,
		Sizes: blockstore.Sizes(t.Sizes)}
	for _, d := range t.Disks {
		p.Disks = append(p.Disks, blockstore.DiskInfo{Name: d.Name, Size: max(d.Size, 0), LogicalSector: d.LogicalSector, PhysicalSector: d.PhysicalSector,
			Format: d.Format, Source: d.Source, Serial: d.Serial, Bus: d.Bus, BootOrder: d.BootOrder, Sizes: blockstore.Sizes(d.Sizes)})
	}
	for _, c := range t.Config {
		p.Config = append(p.Config, blockstore.ConfigBlob{Name: c.Name, Size: c.Size})
	}
	for _, l := range t.LeftOut {
		p.LeftOut = append(p.LeftOut, blockstore.LeftOut{Name: l.Name, Size: l.Size, Reason: l.Reason})
	}
	return p
}
