package blockstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// put writes a catalogue of some frames.
func putCatalogue(o *Owner, p *Point, base CatalogueID, frames ...[]byte) (Catalogue, error) {
	return o.WriteCatalogue(context.Background(), p, base, func(frame func([]byte) error) error {
		for _, f := range frames {
			if err := frame(slices.Clone(f)); err != nil {
				return err
			}
		}
		return nil
	})
}

func mustPut(t *testing.T, o *Owner, p *Point, base CatalogueID, frames ...[]byte) Catalogue {
	t.Helper()
	c, err := putCatalogue(o, p, base, frames...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cataloguedVault has some points with a catalogue each, every one on top of the one before.
func cataloguedVault(t *testing.T, points int, seal ...SealWith) (*Owner, []*Point, Catalogues) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "v")
	if _, err := Create(t.Context(), dir, CreateOptions{BlockSize: sampleBlock, Seal: seal}); err != nil {
		t.Fatal(err)
	}
	opts := OwnOptions{}
	for _, s := range seal {
		opts.Unlock = &Unlocker{Passphrase: func() (string, error) { return s.Passphrase, nil }}
	}
	o := ownVault(t, dir, opts)
	t.Cleanup(func() { o.Close() })
	var all []*Point
	var list Catalogues
	var base CatalogueID
	for i := range points {
		p, err := backUpSelfTold(t.Context(), o, "vm0", noise(uint64(i), 3))
		if err != nil {
			t.Fatal(err)
		}
		c := mustPut(t, o, p, base, []byte("frame one"), fmt.Appendf(nil, "frame two of %d", i))
		all, list, base = append(all, p), append(list, c), c.ID
	}
	return o, all, list
}

func framesOf(v *Vault, c Catalogue) (frames []string, err error) {
	f, err := v.OpenCatalogue(c)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for i := range f.Frames() {
		b, err := f.Frame(i, nil)
		if err != nil {
			return nil, err
		}
		frames = append(frames, string(b))
	}
	return frames, nil
}

func TestACatalogueReadsBackSealedOrNot(t *testing.T) {
	t.Parallel()
	for _, seal := range [][]SealWith{nil, {{Passphrase: "p", Work: 10}}} {
		o, points, list := cataloguedVault(t, 3, seal...)
		got, err := o.Catalogues(points[0].Machine)
		if err != nil || !slices.Equal(got, list) {
			t.Errorf("listed are %v (%v), want %v", got, err, list)
		}
		chain := got.Chains()[points[2].ID]
		if !slices.Equal(chain, list) {
			t.Errorf("the chain is %v", chain)
		}
		large := bytes.Repeat([]byte("names "), MaxCatalogueFrame/6)
		list[2] = mustPut(t, o, points[2], list[1].ID, []byte("x"), large)
		reader := openReader(t, o, seal)
		frames, err := framesOf(reader, list[2])
		if err != nil || len(frames) != 2 || frames[1] != string(large) {
			t.Errorf("%d frames, %v", len(frames), err)
		}
		raw, err := os.ReadFile(filepath.Join(o.dir.Root(), list[0].path()))
		if err != nil || bytes.Contains(raw, []byte("frame two")) != (seal == nil) {
			t.Errorf("a sealed vault's catalogue is not, or the other way round (%v)", err)
		}
		if _, err := putCatalogue(o, points[0], CatalogueID{}, append(large, large...)); err == nil {
			t.Error("a frame that is too large was written")
		}
		mustCheck(t, o.Vault)
	}
}

func openReader(t *testing.T, o *Owner, seal []SealWith) *Vault {
	t.Helper()
	opts := Options{}
	for _, s := range seal {
		opts.Unlock = &Unlocker{Passphrase: func() (string, error) { return s.Passphrase, nil }}
	}
	v, err := Open(t.Context(), o.dir.Root(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func TestSweepKeepsCataloguesAsLongAsAnyPointTakesThem(t *testing.T) {
	t.Parallel()
	o, points, list := cataloguedVault(t, 4)
	drop := func(i int) {
		t.Helper()
		if err := o.Delete(points[i]); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Sweep(t.Context(), SweepOptions{Trash: true}); err != nil {
			t.Fatal(err)
		}
	}
	left := func(want ...Catalogue) {
		t.Helper()
		got, err := o.Catalogues(points[0].Machine)
		if err != nil || !slices.Equal(got, Catalogues(want)) {
			t.Errorf("there are %v (%v), want %v", got, err, want)
		}
		mustCheck(t, o.Vault)
	}
	drop(1)
	left(list...) // others build on it
	drop(3)
	left(list[:3]...)
	if _, err := putCatalogue(o, points[3], list[2].ID, []byte("x")); !errors.Is(err, ErrNotFound) {
		t.Errorf("a point that is gone has a catalogue: %v", err)
	}
	drop(2)
	left(list[0]) // and the one of point 1 goes, too
	if _, err := putCatalogue(o, points[0], list[2].ID, []byte("x")); !errors.Is(err, ErrNotFound) {
		t.Errorf("one builds on a catalogue that is gone: %v", err)
	}
	left(list[0])
	drop(0)
	left()
	if names, err := o.dir.List(cataloguesDir); err != nil || len(names) != 0 {
		t.Errorf("%v stays (%v)", names, err)
	}
}

func TestACatalogueInTheTrashOfAHeldVaultStays(t *testing.T) {
	t.Parallel()
	o, points, list := cataloguedVault(t, 1)
	if err := o.HoldSweep(points[0].Time.AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := o.DropCatalogues(list); !errors.Is(err, ErrHeld) {
		t.Errorf("a catalogue of a vault that is copied was removed: %v", err)
	}
	if _, err := o.ReleaseSweep(); err != nil {
		t.Fatal(err)
	}
	if freed, err := o.DropCatalogues(list); err != nil || freed == 0 {
		t.Errorf("%d freed, %v", freed, err)
	}
}

func TestADamagedCatalogueIsAFaultThatHarmsNoPoint(t *testing.T) {
	t.Parallel()
	spoils := map[string]func(string) error{
		"cut":                  func(f string) error { return os.Truncate(f, 500) },
		"gone":                 os.Remove,
		"empty":                func(f string) error { return os.Truncate(f, 0) },
		"another's":            func(f string) error { return os.WriteFile(f, []byte(strings.Repeat("HOLDPACK", 200)), 0o600) },
		"a bit in the header":  flipAt(20),
		"a bit in the frames":  flipAt(-64 - 2*44 - 3),
		"a bit in the trailer": flipAt(-10),
	}
	for name, spoil := range spoils {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, points, list := cataloguedVault(t, 3)
			if err := spoil(filepath.Join(o.dir.Root(), list[1].path())); err != nil {
				t.Fatal(err)
			}
			if _, err := framesOf(o.Vault, list[1]); !errors.Is(err, ErrCatalogue) {
				t.Errorf("it is read: %v", err)
			}
			r, err := o.Check(t.Context(), CheckOptions{Data: true})
			if err != nil || len(r.Faults) != 1 || r.Harmed() {
				t.Errorf("faults are %v (%v)", r.Faults, err)
			}
			if _, err := o.DropCatalogues(list[1:2]); err != nil {
				t.Fatal(err)
			}
			if _, err := o.Sweep(t.Context(), SweepOptions{}); err != nil {
				t.Fatal(err)
			}
			if got, _ := o.Catalogues(points[0].Machine); !slices.Equal(got, list[:1]) {
				t.Errorf("%v is left, and %v builds on what is gone", got, list[2])
			}
			mustCheck(t, o.Vault)
			mustPut(t, o, points[2], list[0].ID, []byte("again"))
			mustCheck(t, o.Vault)
		})
	}
}

func flipAt(at int) func(string) error {
	return func(f string) error {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if at < 0 {
			at += len(b)
		}
		b[at] ^= 1
		return os.WriteFile(f, b, 0o600)
	}
}

func TestChainsOfHostileNamesEnd(t *testing.T) {
	t.Parallel()
	id := func(n byte) CatalogueID { return CatalogueID{n} }
	all := Catalogues{
		{Point: "p1", ID: id(1), Base: id(2)}, {Point: "p2", ID: id(2), Base: id(1)}, // a ring
		{Point: "p3", ID: id(3), Base: id(3)}, {Point: "p4", ID: id(4), Base: id(9)},
		{Point: "p5", ID: id(5)}, {Point: "p5", ID: id(6), Base: id(5)},
	}
	chains := all.Chains()
	if len(chains) != 1 || len(chains["p5"]) != 1 {
		t.Errorf("chains are %v", chains)
	}
	needed := all.needed(func(PointID) bool { return true })
	if len(needed) != 1 || !needed[id(5)] {
		t.Errorf("needed are %v", needed)
	}
	for _, name := range []string{"", "x", "00000001-p1", "00000001-p0123456789abcdef-" + strings.Repeat("0", 32) + "-" + strings.Repeat("0", 32),
		"1-p0123456789abcdef-" + strings.Repeat("a", 32) + "-" + strings.Repeat("0", 32)} {
		if c, ok := parseCatalogue("0123456789abcdef", name); ok {
			t.Errorf("%q is %v", name, c)
		}
	}
}

func TestACopyATakeoverAndASalvageGoOnWithoutCatalogues(t *testing.T) {
	t.Parallel()
	o, points, list := cataloguedVault(t, 2)
	dir := o.dir.Root()
	to := filepath.Join(t.TempDir(), "copy")
	if _, err := Create(t.Context(), to, CreateOptions{Like: dir}); err != nil {
		t.Fatal(err)
	}
	c := ownVault(t, to, OwnOptions{})
	defer c.Close()
	if r, err := c.CopyFrom(t.Context(), o.Vault, points, nil); err != nil || len(r.Copied) != 2 {
		t.Fatal(r, err)
	}
	if got, err := c.Catalogues(points[0].Machine); err != nil || len(got) != 0 {
		t.Errorf("copied are %v (%v)", got, err)
	}
	mustPut(t, c, points[0], CatalogueID{}, []byte("x"))
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Salvage(t.Context(), dir, filepath.Join(t.TempDir(), "salvaged"), SalvageOptions{MinFree: -1}); err != nil {
		t.Fatal(err)
	}
	again := ownVault(t, dir, OwnOptions{})
	defer again.Close()
	if got, err := again.Catalogues(points[0].Machine); err != nil || !slices.Equal(got, list) {
		t.Errorf("%v after it was opened again (%v), want %v", got, err, list)
	}
}
