package blockstore

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A pack may be lost by a disk, a person or a copy that was not whole. A backup
// that reads the content again must not rest on what is gone.
func TestABackupStoresAgainWhatALostOrShortenedPackHeld(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(string) error{
		"gone": os.Remove,
		"shortened": func(p string) error {
			st, err := os.Stat(p)
			if err != nil {
				return err
			}
			return os.Truncate(p, st.Size()/2)
		},
		"empty": func(p string) error { return os.Truncate(p, 0) },
	} {
		for _, machine := range []string{"web1", "another"} {
			t.Run(name+" "+machine, func(t *testing.T) {
				t.Parallel()
				storeAgain(t, harm, machine)
			})
		}
	}
}

func storeAgain(t *testing.T, harm func(string) error, machine string) {
	t.Helper()
	dir := newVault(t, 16<<10)
	disk := secretDisk()
	for i := range disk {
		disk[i] ^= byte(i * i >> 9) // so that packs are larger than what is left of them
	}
	o := ownVault(t, dir, OwnOptions{})
	first := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	packs, err := filepath.Glob(filepath.Join(dir, packsDir, "*", "*", "*"))
	if err != nil || len(packs) == 0 {
		t.Fatal(packs, err)
	}
	for _, p := range packs {
		if err := harm(p); err != nil {
			t.Fatal(err)
		}
	}
	o = ownVault(t, dir, OwnOptions{})
	p := backUp(t, o, machine, map[string]Source{"vda": memory(disk)})
	// The configuration is each machine's own.
	again := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	for _, p := range []*Point{p, first, again} {
		if !bytes.Equal(readDisk(t, o.Vault, p, "vda"), disk) {
			t.Errorf("point %s reads otherwise", p.ID)
		}
	}
	if _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true}); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = ownVault(t, dir, OwnOptions{})
	if o.damage.doubt != nil {
		t.Error("the vault is still in doubt after a sweep")
	}
	mustCheck(t, o.Vault)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// Nobody is to be told to give up a point that can be read.
func TestWhatIsWholeInAPackThatWasCutShortIsStoredAgainByTheNextOwner(t *testing.T) {
	t.Parallel()
	dir := newVault(t, 16<<10)
	first, second := secretDisk(), bytes.Repeat([]byte{7}, 1<<20)
	o := ownVault(t, dir, OwnOptions{})
	p := backUp(t, o, "web1", map[string]Source{"vda": memory(first)})
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	packs, err := filepath.Glob(filepath.Join(dir, packsDir, "*", "*", "*"))
	if err != nil || len(packs) == 0 {
		t.Fatal(packs, err)
	}
	o = ownVault(t, dir, OwnOptions{})
	backUp(t, o, "web1", map[string]Source{"vda": memory(second)})
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range packs {
		st, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(name, st.Size()-10); err != nil { // the footer's end
			t.Fatal(err)
		}
	}
	for range 2 {
		o = ownVault(t, dir, OwnOptions{})
		if _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true}); err != nil {
			t.Fatal(err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	o = ownVault(t, dir, OwnOptions{})
	defer o.Close()
	if !bytes.Equal(readDisk(t, o.Vault, p, "vda"), first) {
		t.Error("the first point reads otherwise")
	}
	if len(o.cutOff) > 0 {
		t.Errorf("packs are still cut short: %v", o.cutOff)
	}
	mustCheck(t, o.Vault)
}
