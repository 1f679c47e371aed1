package blockstore

import (
	"context"
	"errors"
	"fmt"
	"path"
)

// SetPolicy makes p the policy of its name, in place of the one that is there. Its
// id, generation and time are given to it.
func (o *Owner) SetPolicy(ctx context.Context, p Policy) (Policy, error) {
	p.Removed = false
	if err := p.Check(); err != nil {
		return Policy{}, fmt.Errorf("set policy %s: %w", p.Name, err)
	}
	err := o.unlessHung(func() (err error) {
		p, err = o.writePolicy(ctx, p)
		return err
	})
	if err != nil {
		return Policy{}, fmt.Errorf("set policy %s: %w", p.Name, err)
	}
	return p, nil
}

// RemovePolicy ends a policy. Its record says so from then on, in copies of the
// vault's folder too; machines and points stay.
func (o *Owner) RemovePolicy(ctx context.Context, name string) error {
	return o.unlessHung(func() error {
		p, err := o.Policy(ctx, name)
		if err != nil {
			return err
		}
		p = Policy{ID: p.ID, Name: p.Name, Removed: true}
		if _, err := o.writePolicy(ctx, p); err != nil {
			return fmt.Errorf("remove policy %s: %w", name, err)
		}
		return nil
	})
}

// CopyPolicies makes the policies of another vault those of this one that it has
// none of that name for, and returns them.
func (o *Owner) CopyPolicies(ctx context.Context, src *Vault) (copied []Policy, err error) {
	from, unread := src.Policies(ctx)
	have, err := o.Policies(ctx)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, p := range have {
		there[p.Name] = true
	}
	for _, p := range from {
		if there[p.Name] {
			continue
		}
		if p, err = o.SetPolicy(ctx, p); err != nil {
			return copied, err
		}
		copied = append(copied, p)
	}
	return copied, unread
}

// writePolicy writes the next generation of the policy of p's name, and removes
// those before it but the last, which is there should the new one be damaged.
func (o *Owner) writePolicy(ctx context.Context, p Policy) (Policy, error) {
	if err := o.checkSpace(0); err != nil {
		return p, err
	}
	o.attributing.Lock()
	defer o.attributing.Unlock()
	all, err := o.allPolicies(ctx)
	if err != nil {
		if all, err = o.forgetDamagedPolicies(ctx, err); err != nil { // it may be the one
			return p, err
		}
	}
	p.ID = PolicyID(randomHex(8))
	for _, q := range all {
		if q.Name == p.Name {
			p.ID = q.ID
		}
	}
	folder := path.Join(policiesDir, string(p.ID))
	names, err := o.dir.List(folder)
	if err != nil {
		return p, err
	}
	p.Generation, p.Changed = 1, o.now()
	for _, n := range names {
		if g, _, ok := parseNumbered(n); ok && g >= p.Generation {
			p.Generation = g + 1
		}
	}
	if err := o.stillOwner(o.claim); err != nil {
		return p, err
	}
	if err := o.writeRecord(policyKind, policyPath(p.ID, p.Generation), p); err != nil {
		return p, err
	}
	for _, n := range names {
		g, _, ok := parseNumbered(n)
		if !ok || g+1 >= p.Generation {
			continue
		}
		if err := o.removing(func() error { return o.dir.Remove(path.Join(folder, n)) }); err != nil && !errors.Is(err, ErrHeld) {
			o.warn(err.Error())
		}
	}
	return p, nil
}

// forgetDamagedPolicies removes the records of policies of which none can be read,
// and says so: what they said is lost, and they would be in the way of those that are set.
func (o *Owner) forgetDamagedPolicies(ctx context.Context, damage error) ([]Policy, error) {
	ids, err := o.dir.List(policiesDir)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if _, err := o.policy(PolicyID(id)); err == nil || !hexID.MatchString(id) {
			continue
		}
		folder := path.Join(policiesDir, id)
		names, err := o.dir.List(folder)
		if err == nil {
			err = o.removing(func() error { return o.removeDamaged(policyKind, folder, names) })
		}
		if err == nil {
			err = o.dir.RemoveDir(folder)
		}
		if err != nil {
			return nil, errors.Join(damage, err)
		}
	}
	o.warn(fmt.Sprintf("a policy was lost, set it again: %v", damage))
	return o.allPolicies(ctx)
}
