package service

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// FindMachine finds a machine by name or id, and says what is near where there is none.
func FindMachine(ctx context.Context, v *blockstore.Vault, name string) (blockstore.Machine, error) {
	m, err := v.Machine(ctx, name)
	if err == nil {
		return m, nil
	}
	machines, _ := v.Machines(ctx) // only for the hint
	var names []string
	for _, m := range machines {
		names = append(names, m.Name)
	}
	if s := Closest(name, names); s != "" {
		return m, Hinted(err, fmt.Sprintf("did you mean %s?", s))
	}
	return m, Hinted(err, "`holdfast machines` lists the machines of the vault, `holdfast discover` the VMs of this host")
}

// PointsOf picks the points of the machine that has a name now, whatever it was
// called when they were made, or of one that has it in its points. who names it to
// blockstore.FindPoint.
func PointsOf(ctx context.Context, v *blockstore.Vault, points []*blockstore.Point, name string) (of []*blockstore.Point, who string, err error) {
	if m, err := v.Machine(ctx, name); err == nil {
		who = name
		for _, p := range points {
			if p.Machine != m.ID {
				continue
			}
			if of = append(of, p); p.MachineName != name {
				who = string(m.ID)
			}
		}
		if len(of) > 0 {
			slices.SortFunc(of, (*blockstore.Point).Compare) // not by the names that it had
			return of, who, nil
		}
	}
	of, err = PointsNamed(points, name)
	return of, name, err
}

// PointsNamed picks the points of one machine, by its id or a name that it has in
// them.
func PointsNamed(points []*blockstore.Point, machine string) ([]*blockstore.Point, error) {
	var picked []*blockstore.Point
	var names []string
	for _, p := range points {
		names = append(names, p.MachineName)
		if p.MachineName == machine || string(p.Machine) == machine {
			picked = append(picked, p)
		}
	}
	if len(picked) > 0 {
		return picked, nil
	}
	err := fmt.Errorf("machine %s: %w", machine, blockstore.ErrNotFound)
	if s := Closest(machine, names); s != "" {
		return nil, Hinted(err, fmt.Sprintf("did you mean %s?", s))
	}
	return nil, Hinted(err, "`holdfast points` lists all machines that have points in this vault")
}

// FindPoint finds the point that ref means. Records of other points that cannot
// be read do not matter, unless it is not found.
func FindPoint(ctx context.Context, v *blockstore.Vault, ref api.PointRef) (*blockstore.Point, error) {
	points, unread := v.Points(ctx)
	of, who, err := PointsOf(ctx, v, points, ref.Machine)
	if err != nil {
		return nil, errors.Join(err, unread)
	}
	p, err := blockstore.FindPoint(of, who, ref.Point)
	if errors.Is(err, blockstore.ErrNotFound) && !errors.Is(err, blockstore.ErrAmbiguous) {
		err = Hinted(err, fmt.Sprintf("`holdfast points %s` lists what there is; POINT is an id or a time in UTC, as it is listed without --local", ref.Machine))
	}
	if err != nil {
		return nil, errors.Join(err, unread)
	}
	if unread != nil && ref.Point == "latest" {
		return nil, Hinted(fmt.Errorf("which point of %s is the latest cannot be told: %w", ref.Machine, unread),
			fmt.Sprintf("name the point; the newest that can be read is %s@%s", p.MachineName, p.ID))
	}
	return p, nil
}

// Where says among which points one is looked for.
type Where int

const (
	Listed   Where = iota
	Trashed        // those in the trash alone
	Anywhere       // latest is a listed one
)

// FindPoints finds the points that refs mean, each once.
func FindPoints(ctx context.Context, v *blockstore.Vault, refs []api.PointRef, in Where) ([]*blockstore.Point, error) {
	var found []*blockstore.Point
	seen := map[blockstore.PointID]bool{}
	for _, ref := range refs {
		p, err := FindIn(ctx, v, ref, in)
		if err != nil {
			return nil, err
		}
		if !seen[p.ID] {
			found = append(found, p)
		}
		seen[p.ID] = true
	}
	return found, nil
}

// FindIn finds the point that ref means, among some.
func FindIn(ctx context.Context, v *blockstore.Vault, ref api.PointRef, in Where) (*blockstore.Point, error) {
	if in == Listed || in == Anywhere && ref.Point == "latest" {
		return FindPoint(ctx, v, ref)
	}
	points, unread := v.Trash(ctx)
	if in == Anywhere {
		more, err := v.Points(ctx)
		points, unread = append(points, more...), errors.Join(unread, err)
	}
	of, who, err := PointsOf(ctx, v, points, ref.Machine)
	if err == nil {
		var p *blockstore.Point
		if p, err = blockstore.FindPoint(of, who, ref.Point); err == nil {
			return p, nil
		}
	}
	if _, e := FindPoint(ctx, v, ref); e == nil && in == Trashed {
		return nil, fmt.Errorf("point %s@%s: %w", ref.Machine, ref.Point, blockstore.ErrNotDeleted)
	}
	if in == Trashed {
		err = Hinted(err, "`holdfast trash` lists what is in the trash")
	}
	return nil, errors.Join(err, unread)
}

var fullPointID = regexp.MustCompile(`^p[0-9a-f]{16}$`)

// FindHarmed finds a point, in the trash or not; one whose record cannot be
// read is found by its id.
func FindHarmed(ctx context.Context, v *blockstore.Vault, ref api.PointRef) (blockstore.MachineID, blockstore.PointID, error) {
	points, unread := v.Points(ctx)
	trash, _ := v.Trash(ctx) // what cannot be read was said already
	p, err := blockstore.FindPoint(points, ref.Machine, ref.Point)
	if err != nil && ref.Point != "latest" {
		if q, e := blockstore.FindPoint(trash, ref.Machine, ref.Point); e == nil {
			p, err = q, nil
		}
	}
	if err == nil {
		return p.Machine, p.ID, nil
	}
	machines, _ := v.Machines(ctx)
	for _, m := range machines {
		if (m.Name == ref.Machine || string(m.ID) == ref.Machine) && fullPointID.MatchString(ref.Point) {
			return m.ID, blockstore.PointID(ref.Point), nil
		}
	}
	return "", "", errors.Join(err, unread)
}
