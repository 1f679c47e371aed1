package blockstore

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"
)

// imported is a vault with a history of one machine, and what its disk held.
type imported struct {
	o      *Owner
	points []*Point
	want   [][]byte
}

func makeHistory(t *testing.T, n int) *imported {
	t.Helper()
	h := &imported{o: ownVault(t, newVault(t, 16<<10), OwnOptions{})}
	r := rand.New(rand.NewPCG(7, 0))
	disk := make([]byte, 6<<20+100)
	fill(r, disk, 3<<20)
	for range n {
		fill(r, disk, 100<<10)
		h.points = append(h.points, backUp(t, h.o, "web1", map[string]Source{"vda": memory(bytes.Clone(disk))}))
		h.want = append(h.want, bytes.Clone(disk))
	}
	t.Cleanup(func() { h.o.Close() })
	return h
}

// target makes a vault to import into.
func target(t *testing.T, o CreateOptions) *Owner {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "target")
	if _, err := Create(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	w := ownVault(t, dir, OwnOptions{})
	t.Cleanup(func() { w.Close() })
	return w
}

func TestAnImportedPointIsTheSamePoint(t *testing.T) {
	t.Parallel()
	h := makeHistory(t, 4)
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	if err := h.o.Lock(h.points[1], until); err != nil {
		t.Fatal(err)
	}
	if err := h.o.change(h.points[1], Attribute{Kind: Note, Text: "kept", By: "root"}, func(PointState) (bool, error) { return true, nil }); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]CreateOptions{
		"like": {Like: h.o.dir.Root()}, "other keys": {BlockSize: 16 << 10}, "other blocks": {BlockSize: 64 << 10},
	} {
		to := target(t, o)
		// The newest first, then the others: an older one is not its parent.
		for _, i := range []int{3, 0, 1, 2} {
			p := h.points[i]
			var last int64
			q, err := to.Import(t.Context(), h.o.Vault, p, func(done int64) {
				if done < last {
					t.Errorf("%s: progress goes back from %d to %d", name, last, done)
				}
				last = done
			})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if last != int64(len(h.want[i])) {
				t.Errorf("%s: progress ends at %d of %d", name, last, len(h.want[i]))
			}
			if q.ID != p.ID || q.Seq != p.Seq || q.Machine != p.Machine || !q.Time.Equal(p.Time) || q.Reached != p.Reached || q.Writer == p.Writer {
				t.Errorf("%s: imported as %+v, was %+v", name, q, p)
			}
			if i == 1 && q.Sizes.Stored > 2<<20 {
				t.Errorf("%s: a point of few changes took %d bytes", name, q.Sizes.Stored)
			}
			if _, err := to.Import(t.Context(), h.o.Vault, p, nil); !errors.Is(err, ErrExists) {
				t.Errorf("%s: imported twice: %v", name, err)
			}
		}
		points, err := to.Points(t.Context())
		if err != nil || len(points) != 4 {
			t.Fatalf("%d points, %v", len(points), err)
		}
		for i, p := range points {
			if p.ID != h.points[i].ID {
				t.Errorf("%s: point %d is %s, want %s", name, i, p.ID, h.points[i].ID)
			}
			if !bytes.Equal(readDisk(t, to.Vault, p, "vda"), h.want[i]) {
				t.Errorf("%s: point %d differs", name, i)
			}
		}
		if s, err := to.State(points[1]); err != nil || !s.Until.Equal(until) {
			t.Errorf("%s: locked until %v, %v", name, s.Until, err)
		}
		if a, err := to.Attributes(points[1]); err != nil || len(a) != 2 {
			t.Errorf("%s: attributes %v, %v", name, a, err)
		}
		mustCheck(t, to.Vault)
		// The machine goes on here where it ended there.
		if p := backUp(t, to, "web1", map[string]Source{"vda": memory(h.want[3])}); p.Seq != 5 || p.Machine != h.points[0].Machine || p.Sizes.Changed != 0 {
			t.Errorf("%s: the next point is %+v", name, p)
		}
	}
}

func TestACopyGoesOnWhereItEndedAndBringsNothingBack(t *testing.T) {
	t.Parallel()
	h := makeHistory(t, 4)
	to := target(t, CreateOptions{Like: h.o.dir.Root()})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := to.CopyFrom(ctx, h.o.Vault, h.points, func(p *Point, _, _ int64) {
		if p.ID == h.points[2].ID {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || len(r.Copied) != 2 {
		t.Fatalf("%d copied, %v", len(r.Copied), err)
	}
	if r, err = to.CopyFrom(t.Context(), h.o.Vault, h.points, nil); err != nil || len(r.Copied) != 2 || r.Present != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	// What was deleted here stays deleted, and what was dropped stays away.
	for _, p := range h.points[:2] {
		if err := to.Delete(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Lock(h.points[1], time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Sweep(t.Context(), SweepOptions{Now: true, Trash: true}); err != nil {
		t.Fatal(err)
	}
	if r, err = to.CopyFrom(t.Context(), h.o.Vault, h.points, nil); err != nil || len(r.Copied) != 0 || r.Present != 3 || r.Forgotten != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if trash, err := to.Trash(t.Context()); err != nil || len(trash) != 1 {
		t.Errorf("%d points in the trash, %v", len(trash), err)
	}
	mustCheck(t, to.Vault)
}

func TestMachinesOfOneNameAreNotMixed(t *testing.T) {
	t.Parallel()
	h := makeHistory(t, 1)
	to := target(t, CreateOptions{})
	backUp(t, to, "web1", map[string]Source{"vda": memory("another machine")})
	if _, err := to.Import(t.Context(), h.o.Vault, h.points[0], nil); !errors.Is(err, ErrExists) {
		t.Errorf("imported: %v", err)
	}
	if _, err := h.o.Import(t.Context(), h.o.Vault, h.points[0], nil); err == nil {
		t.Error("a vault was copied into itself")
	}
}
