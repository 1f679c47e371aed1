package blockstore

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
)

func TestASurveyTellsWhatIsToldOneByOne(t *testing.T) {
	t.Parallel()
	o := ownVault(t, newVault(t, 16<<10), OwnOptions{})
	commit := func(machine string, seed byte) *Point {
		return backUp(t, o, machine, map[string]Source{"vda": memory(bytes.Repeat([]byte{seed}, 64<<10))})
	}
	surveyed := func() {
		t.Helper()
		now := time.Now()
		s, err := o.Survey(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := Open(t.Context(), o.Info().Path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer fresh.Close()
		listed, trash, err := fresh.PointsAndTrash(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		states, err := fresh.States(append(append([]*Point{}, listed...), trash...))
		if err != nil {
			t.Fatal(err)
		}
		health, err := o.Health(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		s.Health.Free, health.Free = 0, 0
		if len(s.Listed) != len(listed) || len(s.Trash) != len(trash) || !reflect.DeepEqual(s.States, states) || !reflect.DeepEqual(s.Health, health) || len(s.Harmed) != 0 {
			t.Errorf("%+v is not %d, %d, %+v, %+v", s, len(listed), len(trash), states, health)
		}
	}
	surveyed()
	surveyed()
	p := commit("web1", 1)
	surveyed()
	commit("db1", 2)
	surveyed()
	if err := o.Delete(p); err != nil {
		t.Fatal(err)
	}
	surveyed()
	if err := o.Undelete(p); err != nil {
		t.Fatal(err)
	}
	surveyed()
}

func TestTheFloorIsWhatTheOwnerWasTold(t *testing.T) {
	t.Parallel()
	for asked, want := range map[int64]func(total int64) int64{-1: func(int64) int64 { return 0 }, 4096: func(int64) int64 { return 4096 }} {
		path := t.TempDir() + "/vault"
		if _, err := Create(t.Context(), path, CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		o, err := Own(t.Context(), path, OwnOptions{MinFree: asked})
		if err != nil {
			t.Fatal(err)
		}
		if h, err := o.Health(t.Context(), time.Now()); err != nil || h.Floor != want(h.Size) {
			t.Errorf("with %d: %d of %d, %v", asked, h.Floor, h.Size, err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		v, err := Open(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if h, err := v.Health(t.Context(), time.Now()); err != nil || h.Floor != backend.Floor(h.Size) {
			t.Errorf("of who only reads: %d of %d, %v", h.Floor, h.Size, err)
		}
		v.Close()
	}
}
