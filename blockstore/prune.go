package blockstore

import "context"

// What pruning by rules needs; the rules are daemon/policy's.

// Harmed returns those of some points of which something is known not to be there,
// or not as it was stored. Where nothing is noted as damaged and no pack is gone, this costs a list of
// packs; else the maps of the points are walked.
func (v *Vault) Harmed(ctx context.Context, points []*Point) (map[PointID]bool, error) {
	return v.harmed(ctx, points, once(v.dir.Glance))
}

func (v *Vault) harmed(ctx context.Context, points []*Point, list lister) (map[PointID]bool, error) {
	harmed := map[PointID]bool{}
	w, err := v.weighing(ctx, nil, list)
	if err != nil {
		return nil, err
	}
	for _, p := range points {
		good, err := w.isGood(ctx, p)
		if err != nil {
			return nil, err
		}
		if !good {
			harmed[p.ID] = true
		}
	}
	return harmed, nil
}

// NotePruned remembers by which rules the points of a machine were pruned, where
// that is not known yet.
func (o *Owner) NotePruned(ctx context.Context, m Machine, rules string) error {
	if m.Pruned == rules {
		return nil
	}
	_, err := o.changeMachine(ctx, m.ID, func(m *Machine) error {
		m.Pruned = rules
		return nil
	})
	return err
}
