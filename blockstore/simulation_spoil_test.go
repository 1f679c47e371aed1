package blockstore

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// spoil harms a pack, sees that no point is read as anything but what it was, and
// that backups of the same content make all of them whole again.
func (s *simulation) spoil() {
	files := s.packFiles()
	if len(files) == 0 {
		return
	}
	slices.Sort(files)
	file := files[s.r.IntN(len(files))]
	how := s.harmPack(file)
	s.tell("pack %s: %s", filepath.Base(file), how)
	s.readsNothingElse(how)
	a := s.actor()
	if err := a.open(s.t.Context()); err != nil {
		s.t.Fatalf("after %s: %v", how, err)
	}
	defer func() {
		if err := a.o.Close(); err != nil {
			s.t.Error(err)
		}
	}()
	report, err := a.o.Check(s.t.Context(), CheckOptions{Data: true})
	if err == nil {
		_, _, err = a.o.NoteDamage(s.t.Context(), report.Damaged)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.backUpAgain(a)
	s.model.compare(s.t, a.o.Vault, "after healing what "+how+" harmed", true)
	if report, err = a.o.Check(s.t.Context(), CheckOptions{Data: true}); err != nil || report.Harmed() {
		s.t.Errorf("after healing what %s harmed: %+v, %v", how, report, err)
	}
	s.sweep(a.o, SweepOptions{Now: true, Full: true}, "after healing what "+how+" harmed")
	mustCheck(s.t, a.o.Vault) // what is damaged and lies elsewhere is gone
}

// harmPack flips a bit of a pack, cuts it short, or removes it.
func (s *simulation) harmPack(file string) (how string) {
	b, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	at := s.r.IntN(len(b))
	switch s.r.IntN(4) {
	case 0:
		how, err = "its loss", os.Remove(file)
	case 1:
		how, err = fmt.Sprintf("a cut at %d of %d", at, len(b)), os.Truncate(file, int64(at))
	default:
		how = fmt.Sprintf("a flipped bit at %d of %d", at, len(b))
		b[at] ^= 1 << s.r.IntN(8)
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return how
}

// readsNothingElse reads every point: as it was, or not at all.
func (s *simulation) readsNothingElse(how string) {
	v, err := Open(s.t.Context(), s.dir, Options{})
	if err != nil {
		s.t.Fatalf("after %s: %v", how, err)
	}
	defer v.Close()
	all, err := v.allPoints(s.t.Context(), v.dir.List)
	if err != nil {
		s.t.Fatalf("after %s: %v", how, err)
	}
	for _, p := range all {
		d, err := v.OpenDisk(p, "vda")
		if err != nil {
			s.t.Fatal(err)
		}
		b := make([]byte, d.Size())
		_, err = d.ReadAt(b, 0)
		switch {
		case err == nil && sumOf(b) != s.model.points[p.ID].sum:
			s.t.Errorf("after %s: point %s is read as something else", how, p.ID)
		case err != nil && !errors.As(err, new(*CorruptError)):
			s.t.Errorf("after %s: point %s: %v", how, p.ID, err)
		}
	}
}

// backUpAgain backs up the disks of all points that there may be.
func (s *simulation) backUpAgain(a *actor) {
	type content struct {
		version uint64
		as      int
	}
	var contents []content
	s.model.mu.Lock()
	for _, p := range s.model.points {
		if c := (content{p.version, p.as}); p.may != absent && !slices.Contains(contents, c) {
			contents = append(contents, c)
		}
	}
	s.model.mu.Unlock()
	slices.SortFunc(contents, func(c, d content) int { return cmp.Or(cmp.Compare(c.version, d.version), cmp.Compare(c.as, d.as)) })
	for _, c := range contents {
		if err := a.backUp(s.t.Context(), simMachines[c.as], c.version, c.as, -1); err != nil {
			s.t.Fatal(err)
		}
	}
}
