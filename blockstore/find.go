package blockstore

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// FindPoint finds the point of a machine that ref means: `latest`, an id or a
// prefix of it, or a time or a prefix of it, as 2026-11-22T22-00-05Z or
// 2026-11-22T22:00:05Z. Machine is a name or an id. Points are in the order of
// [Vault.Points]. An error is ErrNotFound, or ErrAmbiguous with what fits in
// its text.
func FindPoint(points []*Point, machine, ref string) (*Point, error) {
	mine, err := pointsOf(points, machine)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(mine, (*Point).Compare) // a machine that was renamed has points under several names
	if ref == "latest" {
		return mine[len(mine)-1], nil
	}
	fits, err := matcher(ref)
	if err != nil {
		return nil, err
	}
	var found []*Point
	for _, p := range mine {
		if fits(p) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("point %s@%s: %w among its %d points", machine, ref, ErrNotFound, len(mine))
	case 1:
		return found[0], nil
	}
	return nil, ambiguous(machine+"@"+ref, found)
}

// pointsOf returns the points of one machine. A name that two machines have is
// ambiguous; an id is taken for the id, even if another machine is named so.
func pointsOf(points []*Point, machine string) ([]*Point, error) {
	var mine, named []*Point
	ids := map[MachineID]bool{}
	for _, p := range points {
		if string(p.Machine) == machine {
			mine = append(mine, p)
		} else if p.MachineName == machine {
			named = append(named, p)
			ids[p.Machine] = true
		}
	}
	if len(mine) > 0 {
		return mine, nil
	}
	mine = named
	if len(mine) == 0 {
		return nil, fmt.Errorf("machine %s: %w, or it has no point", machine, ErrNotFound)
	}
	if len(ids) > 1 {
		var names []string
		for id := range ids {
			names = append(names, string(id))
		}
		slices.Sort(names)
		return nil, fmt.Errorf("machine %s %w: use an id: %s", machine, ErrAmbiguous, strings.Join(names, ", "))
	}
	return mine, nil
}

var (
	idRef   = regexp.MustCompile(`^p[0-9a-f]{0,16}$`)
	timeRef = regexp.MustCompile(`^[0-9]{4}[0-9TZ:-]*$`)
)

func matcher(ref string) (func(*Point) bool, error) {
	switch {
	case idRef.MatchString(ref):
		return func(p *Point) bool { return strings.HasPrefix(string(p.ID), ref) }, nil
	case timeRef.MatchString(ref):
		want := strings.ReplaceAll(ref, ":", "-")
		return func(p *Point) bool { return strings.HasPrefix(p.Label(), want) }, nil
	}
	return nil, fmt.Errorf("point %.40q: give latest, an id that begins with p, or a time such as 2026-11-22T22-00-05Z or its beginning: %w", ref, ErrNotFound)
}

func ambiguous(ref string, found []*Point) error {
	var list strings.Builder
	for i, p := range found {
		if i == 10 {
			fmt.Fprintf(&list, "\n  and %d more", len(found)-i)
			break
		}
		fmt.Fprintf(&list, "\n  %s  %s", p.Label(), p.ID)
	}
	return fmt.Errorf("%s %w:%s", ref, ErrAmbiguous, list.String())
}
