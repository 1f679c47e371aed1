package blockstore

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestAPointWithADamagedPageIsGivenUpSoThatSweepGoesOn(t *testing.T) {
	t.Parallel()
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	disk := make([]byte, 150*sampleBlock)
	rand.NewChaCha8([32]byte{12}).Read(disk)
	harmed := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	rand.NewChaCha8([32]byte{13}).Read(disk)
	whole := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	spoil(t, o.Vault, victims(t, o.Vault, harmed)["root"])
	mustClose(t, o)
	o = ownVault(t, dir, OwnOptions{})
	_, err := o.Sweep(t.Context(), SweepOptions{Now: true})
	var h *HarmedError
	if !errors.As(err, &h) || len(h.Points) != 1 || h.Points[0].ID != harmed.ID {
		t.Fatalf("the sweep says %v", err)
	}
	if err := o.GiveUp(t.Context(), whole.Machine, whole.ID); !errors.Is(err, ErrWhole) {
		t.Errorf("a whole point: %v", err)
	}
	if err := o.GiveUp(t.Context(), whole.Machine, "p0000000000000000"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no point: %v", err)
	}
	if err := o.Lock(harmed, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := o.GiveUp(t.Context(), harmed.Machine, harmed.ID); !errors.Is(err, ErrLocked) {
		t.Fatalf("a locked point: %v", err)
	}
	if err := o.removeAttributes(harmed.Machine, harmed.ID); err != nil { // as if it had run out
		t.Fatal(err)
	}
	if err := o.GiveUp(t.Context(), harmed.Machine, harmed.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true}); err != nil {
		t.Errorf("sweep still stops: %v", err)
	}
	points, err := o.Points(t.Context())
	if err != nil || len(points) != 1 || !bytes.Equal(readDisk(t, o.Vault, points[0], "vda"), disk) {
		t.Errorf("%d points, %v", len(points), err)
	}
	mustClose(t, o)
	if r := checkData(t, dir, true); len(r.Faults) > 0 {
		t.Errorf("%+v", r.Faults)
	}
}

func TestAPointWhoseRecordIsLostForGoodIsGivenUpByItsID(t *testing.T) {
	t.Parallel()
	s := makeSample(t)
	name := s.files["point"]
	segments, _ := filepath.Glob(filepath.Join(s.dir, segmentsDir, "*", "*"))
	for _, f := range append(segments, filepath.Join(s.dir, name)) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(segments, f) {
			err = os.Remove(f)
		} else {
			b[len(b)/2] ^= 1
			err = os.WriteFile(f, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	o := ownVault(t, s.dir, OwnOptions{})
	defer o.Close()
	if _, err := o.Sweep(t.Context(), SweepOptions{Now: true}); err == nil {
		t.Fatal("a sweep passed over a point that it could not read")
	}
	_, id, _ := parseNumbered(path.Base(name))
	if err := o.GiveUp(t.Context(), MachineID(path.Base(path.Dir(name))), PointID(id)); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Sweep(t.Context(), SweepOptions{Now: true}); err != nil {
		t.Errorf("sweep still stops: %v", err)
	}
	mustCheck(t, o.Vault)
}
