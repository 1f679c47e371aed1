package main

import (
	"context"
	"path/filepath"
)

// restore writes the disk to a sparse raw file, beside borg and beside a plain copy.
func (b *bench) restore(ctx context.Context) error {
	const group = "restore"
	b.say("restore: the backups")
	s, err := b.withFirstDay(ctx)
	if err != nil {
		return err
	}
	defer s.remove()
	target := filepath.Join(b.store, "restored.raw")
	folder := filepath.Join(b.store, "restored")
	var ours, peer, plain cost
	for round := range b.rounds {
		b.say("restore, round %d of %d: ours, cp, borg", round+1, b.rounds)
		if ours, err = b.timed(ours, func() (cost, error) { return s.ours.restore(ctx, target) }); err != nil {
			return err
		}
		if round == 0 {
			if err := sameFile(ctx, b.image, target); err != nil {
				return err
			}
		}
		if err := removeAll(target); err != nil {
			return err
		}
		plain, err = b.timed(plain, func() (cost, error) {
			return measure(ctx, command{args: []string{"cp", "--sparse=always", b.image, target}})
		})
		if err != nil {
			return err
		}
		if err := removeAll(target); err != nil {
			return err
		}
		if s.borg == nil {
			continue
		}
		if peer, err = b.timed(peer, func() (cost, error) { return s.borg.extract(ctx, "day1", folder) }); err != nil {
			return err
		}
		if err := removeAll(folder); err != nil {
			return err
		}
	}
	b.table.costs(group, "to a sparse raw file", ours, peer, "borg", atMost(0.45), noTarget)
	b.table.costs(group, "to a sparse raw file", ours, plain, "cp --sparse=always", atMost(1.3), noTarget)
	b.table.memory(group, "to a sparse raw file", ours.Anon)
	return nil
}
