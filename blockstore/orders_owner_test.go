package blockstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

func TestAHitInThePackOfABackupThatIsThenCancelledOutlivesASweep(t *testing.T) {
	o := ownVault(t, vaultIn(t, sampleBlock), OwnOptions{})
	defer o.Close()
	disk := noise(5, 20)
	var backups []*Backup
	for _, machine := range []string{"first", "second"} {
		b, err := o.Begin(t.Context(), BackupOptions{Machine: machine, Time: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.AddDisk(t.Context(), DiskInfo{Name: "vda"}, disk, nil); err != nil {
			t.Fatal(err)
		}
		backups = append(backups, b)
	}
	backups[0].Abort()
	sweepAll(t, o)
	if err := o.store.sealOpen(o); err != nil { // as if another backup had filled it
		t.Fatal(err)
	}
	sweepAll(t, o)
	p, err := backups[1].Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, o.Vault, p, disk)
	mustCheck(t, o.Vault)
}

func TestAnIndexEntryStandsUntilThePackThatWouldReplaceItIsSealed(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	disk := noise(6, 10)
	first := backUp(t, o, "web1", map[string]Source{"vda": disk})
	block := []byte(disk[:sampleBlock])
	id := o.keys.ID(content.Block, block)
	before, ok, err := o.index.Get(id)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	b, err := o.Begin(t.Context(), BackupOptions{Machine: "web2", Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.storeAnew(o.encoder(), content.Block, id, block); err != nil {
		t.Fatal(err)
	}
	plain := o.dir.Ops.Sync
	o.dir.Ops.Sync = func(f *os.File, name string) error {
		if strings.HasPrefix(name, packsDir) {
			return syscall.EIO
		}
		return plain(f, name)
	}
	for _, when := range []string{"while the pack is open", "after it was abandoned"} {
		if now, ok, err := o.index.Get(id); err != nil || !ok || now != before {
			t.Errorf("%s: %v, %v, %v; before: %v", when, now, ok, err, before)
		}
		if _, err := b.Commit(t.Context()); err == nil {
			t.Fatal("a backup was committed that counted on a pack which could not be synced")
		}
	}
	o.dir.Ops.Sync = plain
	again := backUp(t, o, "web2", map[string]Source{"vda": disk})
	mustHold(t, o.Vault, first, disk)
	mustHold(t, o.Vault, again, disk)
	mustCheck(t, o.Vault)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// The pack is linked and its folder's sync fails: it can be read, and may be
// gone after a power loss.
func TestAPackThatCanBeReadAndWasNeverSyncedIsCountedOnByNobody(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	disk := noise(7, 10)
	plain := o.dir.Ops.Sync
	o.dir.Ops.Sync = func(f *os.File, name string) error {
		if st, err := f.Stat(); err == nil && st.IsDir() && strings.HasPrefix(name, packsDir) && strings.Count(name, "/") == 2 {
			if files, err := os.ReadDir(f.Name()); err == nil && len(files) > 0 {
				return syscall.EIO
			}
		}
		return plain(f, name)
	}
	b, err := o.Begin(t.Context(), BackupOptions{Machine: "web1", Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AddDisk(t.Context(), DiskInfo{Name: "vda"}, disk, nil); err != nil {
		t.Fatal(err)
	}
	if p, err := b.Commit(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Fatalf("%v, %v", p, err)
	}
	o.dir.Ops.Sync = plain
	p := backUp(t, o, "web1", map[string]Source{"vda": disk})
	if p.Sizes.Stored < int64(len(disk)) {
		t.Errorf("only %d bytes were stored again", p.Sizes.Stored)
	}
	mustHold(t, o.Vault, p, disk)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = ownVault(t, dir, OwnOptions{})
	if o.claim.clean {
		t.Error("the next owner believes what it finds without a sync")
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestARebuildThatIsKilledMidwayIsFinishedByTheNextOwner(t *testing.T) {
	for nth := range int32(3) {
		dir := vaultIn(t, sampleBlock)
		o := ownVault(t, dir, OwnOptions{})
		o.store.packBytes = crashPackBytes
		disk := noise(10, 100)
		p := backUp(t, o, "web1", map[string]Source{"vda": disk})
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		out, err := childCommand(t, childOrder{Dir: dir, Rebuild: true, DieAt: "pack.entered", Nth: nth + 1}).CombinedOutput()
		if err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the child was not killed: %v\n%s", err, out)
		}
		o = ownVault(t, dir, OwnOptions{})
		again := backUp(t, o, "web2", map[string]Source{"vda": disk})
		if again.Sizes.Stored > 1<<10 {
			t.Errorf("%d bytes were stored again", again.Sizes.Stored)
		}
		mustHold(t, o.Vault, p, disk)
		mustCheck(t, o.Vault)
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTwoOwnersWithTwoFoldersForTheirIndexAreOneTooMany(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	disk := noise(13, 10)
	p := backUp(t, o, "web1", map[string]Source{"vda": disk})
	elsewhere := filepath.Join(scratch(t), "link")
	if err := os.Symlink(dir, elsewhere); err != nil {
		t.Fatal(err)
	}
	var busy *BusyError
	if _, err := Own(t.Context(), elsewhere, OwnOptions{MinFree: -1, StateDir: t.TempDir()}); !errors.As(err, &busy) {
		t.Errorf("a second owner on another way to the vault: %v", err)
	}
	// Another host took the vault over, on which this one's lock says nothing.
	other := *o.claim
	other.owner.Nonce = "another"
	if err := o.writeOwner(&other); err != nil {
		t.Fatal(err)
	}
	b, err := o.Begin(t.Context(), BackupOptions{Machine: "web2", Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AddDisk(t.Context(), DiskInfo{Name: "vda"}, noise(14, 10), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Commit(t.Context()); !errors.As(err, &busy) {
		t.Errorf("a commit after the vault was taken over: %v", err)
	}
	if err := o.Delete(p); !errors.As(err, &busy) {
		t.Errorf("a deletion after the vault was taken over: %v", err)
	}
	before := packBytes(t, o.Vault)
	if report, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true}); !errors.As(err, &busy) || report.Removed != 0 {
		t.Errorf("a sweep after the vault was taken over: %+v, %v", report, err)
	}
	if packBytes(t, o.Vault) != before {
		t.Error("it removed packs")
	}
	o.Close()
}
