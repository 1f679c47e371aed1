package blockstore

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

func TestABackupThatMeetsDamageNotesItAndHealsItAtOnce(t *testing.T) {
	t.Parallel()
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	disk := make([]byte, 150*sampleBlock)
	rand.NewChaCha8([32]byte{7}).Read(disk)
	first := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	leaf := victims(t, o.Vault, first)["leaf"]
	spoil(t, o.Vault, leaf)
	mustClose(t, o)
	o = ownVault(t, dir, OwnOptions{})
	second := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	if n := notesIn(t, o.Vault); n != 1 {
		t.Errorf("%d records are noted", n)
	}
	healed(t, o, dir, map[*Point][]byte{first: disk, second: disk})
}

func TestABitmapBackupOverAMapThatCannotBeReadReadsTheDisk(t *testing.T) {
	t.Parallel()
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	disk := make([]byte, 150*sampleBlock)
	rand.NewChaCha8([32]byte{6}).Read(disk)
	first := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	spoil(t, o.Vault, victims(t, o.Vault, first)["root"])
	mustClose(t, o)
	o = ownVault(t, dir, OwnOptions{})
	var reads atomic.Int64
	second := backUp(t, o, "web1", map[string]Source{"vda": sameAs{memory(disk), map[int64]bool{3: true}, &reads}})
	if second.Sizes.Protected != int64(len(disk)) {
		t.Errorf("the protected size is %d", second.Sizes.Protected)
	}
	healed(t, o, dir, map[*Point][]byte{first: disk, second: disk})
}

func TestADiskIsNotTakenOverUnreadWhileItIsDamaged(t *testing.T) {
	t.Parallel()
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	disk := make([]byte, 100*sampleBlock)
	rand.NewChaCha8([32]byte{8}).Read(disk)
	first := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	keep := func() error {
		b, err := o.Begin(t.Context(), BackupOptions{Machine: "web1", Time: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Abort()
		return b.KeepDisk(DiskInfo{Name: "vda", Size: int64(len(disk))})
	}
	if err := keep(); err != nil {
		t.Fatal(err)
	}
	block := victims(t, o.Vault, first)["block"]
	spoil(t, o.Vault, block)
	if err := o.readBlock(block, make([]byte, sampleBlock)); err == nil {
		t.Fatal("a damaged block was read")
	}
	if err := keep(); !errors.Is(err, ErrHarmed) {
		t.Errorf("the disk was kept: %v", err)
	}
}

func TestOnlyWhatDoesNotHashTwiceIsNotedAndWhatIsGoodAfterAllIsCleared(t *testing.T) {
	t.Parallel()
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	disk := make([]byte, 100*sampleBlock)
	rand.NewChaCha8([32]byte{9}).Read(disk)
	p := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	block := victims(t, o.Vault, p)["block"]
	var at place
	if err := o.tables.Load().find(block, func(p place) bool { at = p; return true }); err != nil {
		t.Fatal(err)
	}
	o.noteDamage(place{at.writer, at.pack, at.Location}, content.Block, ID{1}, errors.New("a segment led there"))
	if n := notesIn(t, o.Vault); n != 0 {
		t.Errorf("a good record that a damaged segment led to is noted")
	}
	file := o.dir.Path(packPath(at.writer, at.pack))
	moved := file + ".moved"
	if err := os.Rename(file, moved); err != nil {
		t.Fatal(err)
	}
	o.files.forget(at.pack)
	if err := os.Mkdir(file, 0o700); err != nil { // whose reading is an error of the device
		t.Fatal(err)
	}
	if err := o.readBlock(block, make([]byte, sampleBlock)); err == nil {
		t.Fatal("a folder was read")
	}
	o.files.forget(at.pack)
	if err := errors.Join(os.Remove(file), os.Rename(moved, file)); err != nil {
		t.Fatal(err)
	}
	if n := notesIn(t, o.Vault); n != 0 {
		t.Errorf("an error of reading is noted as damage")
	}
	spoil(t, o.Vault, block)
	if err := o.readBlock(block, make([]byte, sampleBlock)); err == nil {
		t.Fatal("a damaged block was read")
	}
	if n := notesIn(t, o.Vault); n != 1 {
		t.Errorf("%d records are noted", n)
	}
	spoil(t, o.Vault, block) // the bit flips back
	report, err := o.Check(t.Context(), CheckOptions{Data: true})
	if err != nil || report.Harmed() || len(report.Damaged) != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	if bad, good, err := o.NoteDamage(t.Context(), report.Damaged); bad != 0 || good != 1 || err != nil {
		t.Errorf("%d damaged, %d good: %v", bad, good, err)
	}
	if n := notesIn(t, o.Vault); n != 0 || o.damage.any() {
		t.Errorf("%d records are still noted", n)
	}
	mustCheck(t, o.Vault)
}
