package blockstore

import (
	"os"
	"slices"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// TestAPackWhoseHeaderOrFooterIsDamagedIsRewrittenWithoutWaitingForItToEmpty damages
// them of packs all of whose records are named.
func TestAPackWhoseHeaderOrFooterIsDamagedIsRewrittenWithoutWaitingForItToEmpty(t *testing.T) {
	for name, at := range map[string]func(size int) int{
		"header":  func(int) int { return 20 },
		"footer":  func(size int) int { return size - 80 },
		"trailer": func(size int) int { return size - 10 },
	} {
		for by, mend := range map[string]func(*testing.T, *Owner){"check": mendAfterCheck, "sweep": mendBySweep} {
			t.Run(name+" by "+by, func(t *testing.T) {
				dir := vaultIn(t, sampleBlock)
				o := ownVault(t, dir, OwnOptions{})
				trash := backUp(t, o, "web2", map[string]Source{"vda": noise(61, 8)})
				kept := backUp(t, o, "web1", map[string]Source{"vda": noise(60, 20)})
				if err := o.Delete(trash); err != nil {
					t.Fatal(err)
				}
				if err := o.eachPack(o.dir.List, func(w WriterID, id pack.ID) error {
					file := o.dir.Path(packPath(w, id))
					b := mustRead(t, file)
					b[at(len(b))] ^= 4
					return os.WriteFile(file, b, 0o600)
				}); err != nil {
					t.Fatal(err)
				}
				mend(t, o)
				mustCheck(t, o.Vault)
				mustHold(t, o.Vault, kept, noise(60, 20))
				if trash, err := o.Trash(t.Context()); err != nil || len(trash) != 1 {
					t.Errorf("%d points in the trash, %v", len(trash), err)
				}
				mustClose(t, o)
				o = ownVault(t, dir, OwnOptions{})
				mustHold(t, o.Vault, kept, noise(60, 20))
				mustClose(t, o)
			})
		}
	}
}

func mendAfterCheck(t *testing.T, o *Owner) {
	r, err := o.Check(t.Context(), CheckOptions{})
	if err != nil || len(r.Torn) == 0 || r.Harmed() {
		t.Fatalf("%+v, %v", r, err)
	}
	if n, err := o.Mend(t.Context(), r.Torn); err != nil || n != len(r.Torn) {
		t.Errorf("%d of %d are mended, %v", n, len(r.Torn), err)
	}
	if n, err := o.Mend(t.Context(), r.Torn); err != nil || n != 0 {
		t.Errorf("%d are mended twice, %v", n, err)
	}
}

func mendBySweep(t *testing.T, o *Owner) {
	if _, err := o.Sweep(t.Context(), SweepOptions{Full: true}); err != nil {
		t.Error(err)
	}
}

// TestACheckByAnOwnerNotesNoGoodCopyOfWhatIsDamaged cuts a pack short whose records
// are then known without their kinds, and have good copies elsewhere.
func TestACheckByAnOwnerNotesNoGoodCopyOfWhatIsDamaged(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	backUp(t, o, "web1", map[string]Source{"vda": noise(70, 20)})
	var files []string
	if err := o.eachPack(o.dir.List, func(w WriterID, id pack.ID) error {
		files = append(files, o.dir.Path(packPath(w, id)))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, o)
	for _, file := range files {
		if err := os.Truncate(file, 600); err != nil { // within the first record
			t.Fatal(err)
		}
	}
	o = ownVault(t, dir, OwnOptions{})
	defer o.Close()
	backUp(t, o, "web1", map[string]Source{"vda": noise(70, 20)})
	for range 2 {
		r, err := o.Check(t.Context(), CheckOptions{Data: true})
		if err != nil || r.Harmed() {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	for id, notes := range o.damage.snapshot() {
		for in := range notes {
			if e := o.dir.Path(packPath(o.claim.owner.Writer, in)); !slices.Contains(files, e) {
				t.Errorf("%s is noted as damaged in pack %s, where it is good", id.Short(), in)
			}
		}
	}
}
