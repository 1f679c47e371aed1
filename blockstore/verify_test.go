package blockstore

import (
	"errors"
	"fmt"
	"path"
	"testing"
	"time"
)

// TestThatPointsWereReadBackIsOneFileForEachMachine notes passes over points of
// several machines, one of them harmed in the second.
func TestThatPointsWereReadBackIsOneFileForEachMachine(t *testing.T) {
	t.Parallel()
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	var points []*Point
	for i := range 6 {
		points = append(points, backUp(t, o, fmt.Sprintf("web%d", i%2), map[string]Source{"vda": noise(uint64(i), 3)}))
	}
	first := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for pass := range 4 {
		r := &CheckReport{examined: points, ReadSince: first.Add(time.Duration(pass) * time.Hour)}
		want := len(points)
		if pass == 3 {
			r.Faults = []Fault{{Harms: []Harm{{Point: points[0].ID}}}}
			want--
		}
		if n, err := o.NoteVerified(t.Context(), r); n != want || err != nil {
			t.Errorf("%d points, want %d: %v", n, want, err)
		}
		for _, v := range []*Vault{o.Vault, mustOpen(t, dir)} {
			for i, p := range points {
				s, err := v.State(p)
				if harmed := pass == 3 && i == 0; err != nil || s.Verified.Equal(r.ReadSince) == harmed {
					t.Errorf("pass %d, point %d: %+v, %v", pass, i, s, err)
				}
			}
		}
		for _, p := range points[:2] {
			names, err := o.dir.List(path.Join(attrsDir, string(p.Machine)))
			if err != nil || len(names) != 1 {
				t.Errorf("%v lie there after %d passes, %v", names, pass+1, err)
			}
		}
	}
}

// TestWhatALaterVersionSaysOfSeveralPointsStopsSweep keeps points that a lock
// unknown to this version may cover.
func TestWhatALaterVersionSaysOfSeveralPointsStopsSweep(t *testing.T) {
	t.Parallel()
	o := ownVault(t, vaultIn(t, sampleBlock), OwnOptions{})
	defer o.Close()
	p := backUp(t, o, "web1", map[string]Source{"vda": noise(1, 3)})
	a := Attribute{Kind: Locked, Seq: 1, Time: time.Now(), Points: []PointID{p.ID}}
	name := path.Join(attrsDir, string(p.Machine), numbered(1, "0a0a0a0a"))
	if err := o.writeRecord(attributeKind, name, a); err != nil {
		t.Fatal(err)
	}
	if r, err := o.Sweep(t.Context(), SweepOptions{Now: true}); !errors.Is(err, ErrVersion) || r.Removed != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if points, err := o.Points(t.Context()); len(points) != 1 || !errors.Is(err, ErrVersion) {
		t.Errorf("%d points, %v", len(points), err)
	}
}

func mustOpen(t *testing.T, dir string) *Vault {
	t.Helper()
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}
