package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
)

// Pruning says which points are looked at, and with what care.
type Pruning struct {
	Machines []blockstore.Machine // of the vault; those that are not asked for are left out
	Confirm  bool                 // a person knows how many points go
	Now      time.Time            // by which locks are told
	// states tells what the VMs of machines do; nil: they are asked, see states.
	States func(context.Context, []blockstore.Machine) []string
}

// PrunePlan is what is to become of the points of one machine.
type PrunePlan struct {
	Machine  blockstore.Machine
	Policy   blockstore.Policy // of no name: it has none
	Rules    string            // in words
	Points   []*blockstore.Point
	Verdicts []policy.Verdict
	Passed   string // why nothing is pruned; empty: it is
	Waits    bool   // for a person to confirm
	Doubtful bool   // somebody should look why it is passed over
}

// Going returns the points that go, oldest first.
func (p *PrunePlan) Going() (going []*blockstore.Point) {
	for i, v := range p.Verdicts {
		if !v.Keep {
			going = append(going, p.Points[i])
		}
	}
	return going
}

// A change of rules that moves more than one in prunePart of a machine's points to the
// trash waits for a person.
const prunePart = 5

// PlanPrune says what is to become of every point of some machines. It fails
// where any record cannot be read: it may be the one that keeps a point.
func PlanPrune(ctx context.Context, v *blockstore.Vault, o Pruning) ([]PrunePlan, error) {
	policies, err := v.Policies(ctx)
	if err != nil {
		return nil, fmt.Errorf("nothing was pruned, since not every policy can be read: %w", err)
	}
	points, err := v.Points(ctx)
	if err != nil {
		return nil, fmt.Errorf("nothing was pruned, since not every point can be read: %w", err)
	}
	of := map[blockstore.MachineID][]*blockstore.Point{}
	for _, p := range points {
		of[p.Machine] = append(of[p.Machine], p)
	}
	harmed, err := v.Harmed(ctx, points)
	if err != nil {
		return nil, fmt.Errorf("nothing was pruned, since it cannot be told what is damaged: %w", err)
	}
	if o.States == nil {
		o.States = statesOf
	}
	states := o.States(ctx, o.Machines)
	plans := make([]PrunePlan, 0, len(o.Machines))
	for i, m := range o.Machines {
		plan := PrunePlan{Machine: m, Points: of[m.ID]}
		slices.SortFunc(plan.Points, (*blockstore.Point).Compare)
		if err := plan.decide(v, policies, harmed, o); err != nil {
			return nil, fmt.Errorf("nothing was pruned: machine %s: %w", m.Name, err)
		}
		plan.hesitate(states[i], o.Confirm)
		plans = append(plans, plan)
	}
	return plans, nil
}

// decide finds the machine's policy, and lets its rules decide.
func (p *PrunePlan) decide(v *blockstore.Vault, policies []blockstore.Policy, harmed map[blockstore.PointID]bool, o Pruning) error {
	var rules policy.Rules
	chosen, ok, err := PolicyFor(p.Machine, policies)
	var two *policy.AmbiguousError
	switch {
	case errors.As(err, &two):
		p.Passed, p.Doubtful = two.Error(), true
	case err != nil:
		return err
	case !ok:
		p.Passed = "it has no policy"
	default:
		if rules, err = RulesOf(chosen, p.Machine); err != nil {
			return err
		}
		p.Policy, p.Rules = chosen, ruleWords(rules)
	}
	states, err := v.States(p.Points)
	if err != nil {
		return err
	}
	known := make([]policy.Point, 0, len(p.Points))
	for i, q := range p.Points {
		s := states[i]
		k := policy.Point{ID: string(q.ID), Time: q.Time, Reached: policy.Consistency(q.Reached), Damaged: harmed[q.ID], Locked: s.Until}
		for _, d := range q.Disks {
			k.Disks = append(k.Disks, policy.Disk{Name: d.Name, Serial: d.Serial, Source: d.Source})
		}
		known = append(known, k)
	}
	p.Verdicts = rules.Decide(known, o.Now)
	return nil
}

// hesitate passes a machine over that is not where it was, or of which a change of
// rules would take much.
func (p *PrunePlan) hesitate(state string, confirmed bool) {
	going := len(p.Going())
	switch {
	case p.Passed != "" || going == 0:
	case state == StateGone, state == StateAnother:
		p.Passed = fmt.Sprintf("its VM is not on this host (%s), and no new points are made of it", state)
	case state == StateUnclear:
		p.Passed, p.Doubtful = "its VM does not answer, it may be gone", true
	case p.Machine.Pruned != p.Rules && going*prunePart > len(p.Points) && !confirmed:
		p.Passed = fmt.Sprintf("by rules that are new for it, %d of %d points would go to the trash", going, len(p.Points))
		p.Waits, p.Doubtful = true, true
	}
}

// prune moves the points to the trash that plans let go, machine by machine, and
// returns how many; an interrupted run is finished by the next one.
func prune(ctx context.Context, o *blockstore.Owner, plans []PrunePlan) (moved int, err error) {
	for i := range plans {
		p := &plans[i]
		if p.Passed != "" {
			continue
		}
		for _, q := range p.Going() {
			if err := ctx.Err(); err != nil {
				return moved, err
			}
			if err := o.DeleteFor(q, p.Policy.TrashDays); err != nil {
				return moved, err
			}
			moved++
		}
		if err := o.NotePruned(ctx, p.Machine, p.Rules); err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// describePrune returns a plan as programs see it.
func describePrune(p PrunePlan, dry bool) api.Prune {
	a := api.Prune{Machine: p.Machine.Name, MachineID: string(p.Machine.ID), Policy: p.Policy.Name, Rules: p.Rules, Dry: dry, Passed: p.Passed, Waits: p.Waits, Doubtful: p.Doubtful,
		Points: make([]api.PrunedPoint, 0, len(p.Points))}
	for i, q := range p.Points {
		v := p.Verdicts[i]
		a.Points = append(a.Points, api.PrunedPoint{ID: string(q.ID), Time: api.At(q.Time), Keep: v.Keep, Why: append([]string{}, v.Why...), Flaw: v.Flaw})
		if v.Keep {
			a.Kept++
		} else {
			a.Pruned++
		}
	}
	if !dry && p.Passed != "" {
		a.Kept, a.Pruned = len(p.Points), 0
	}
	return a
}
