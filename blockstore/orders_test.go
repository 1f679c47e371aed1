package blockstore

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// Each test here is an order of events that once could have lost something, or
// brought back what was gone.

// noise is a disk of so many blocks that nothing compresses.
func noise(seed uint64, blocks int) memory {
	r := rand.New(rand.NewPCG(seed, 7))
	disk := make(memory, blocks*sampleBlock)
	for i := range disk {
		disk[i] = byte(r.Uint32())
	}
	return disk
}

// segmentFiles returns the segments of a vault, by path.
func segmentFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	names, err := filepath.Glob(filepath.Join(dir, segmentsDir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if files[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func sweepAll(t *testing.T, o *Owner) *SweepReport {
	t.Helper()
	report, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// The segments that a merge replaces go one by one. If the one that tells of a
// drop goes first, what tells of the commit stays, and the point would be put back.
func TestADropIsRememberedWhenAMergeEndsBetweenTheSegmentsThatItReplaces(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	kept := backUp(t, o, "web1", map[string]Source{"vda": noise(1, 8)})
	gone := backUp(t, o, "web1", map[string]Source{"vda": noise(2, 8)})
	before := segmentFiles(t, dir)
	if err := o.Delete(gone); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Sweep(t.Context(), SweepOptions{Trash: true}); err != nil { // its packs stay for a week
		t.Fatal(err)
	}
	o.committing.Lock()
	err := o.merge(o.tables.Load().tables)
	o.committing.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	for name, b := range before { // as if they had not been removed yet
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o = ownVault(t, dir, OwnOptions{})
	defer o.Close()
	points, err := o.Points(t.Context())
	if err != nil || len(points) != 1 || points[0].ID != kept.ID {
		t.Errorf("%d points are listed, %v; want the one that was not dropped", len(points), err)
	}
	mustCheck(t, o.Vault)
	sweepAll(t, o)
	if !bytes.Equal(readDisk(t, o.Vault, kept, "vda"), noise(1, 8)) {
		t.Error("the point that was kept differs")
	}
}

// A segment goes on naming packs that sweep removed, until it is merged.
func TestADamagedSegmentThatNamesAPackLongGoneIsWrittenAgain(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	o.store.packBytes = crashPackBytes
	mixed := append(noise(18, 120), noise(19, 16)...)
	gone := backUp(t, o, "web1", map[string]Source{"vda": mixed})
	var name string
	for name = range segmentFiles(t, dir) {
	}
	kept := backUp(t, o, "web1", map[string]Source{"vda": mixed[:120*sampleBlock]})
	if err := o.Delete(gone); err != nil {
		t.Fatal(err)
	}
	if report := sweepAll(t, o); report.Removed == 0 {
		t.Fatalf("%+v", report)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("it was merged already: %v", err)
	}
	b[30] ^= 1 // in its entries
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	o = ownVault(t, dir, OwnOptions{})
	defer o.Close()
	sweepAll(t, o)
	mustHold(t, o.Vault, kept, mixed[:120*sampleBlock])
	mustCheck(t, o.Vault)
}

// ownerThat is an owner that does something once, at a moment of its work.
func ownerThat(t *testing.T, dir, event string, do func(*Owner)) *Owner {
	t.Helper()
	var o *Owner
	done := false
	o = ownVault(t, dir, OwnOptions{Event: func(name string) {
		if name == event && !done && o != nil {
			done = true
			do(o)
		}
	}})
	t.Cleanup(func() {
		if !done {
			t.Errorf("%s never came", event)
		}
	})
	return o
}

// forgotten is a vault that holds the packs of a point that was dropped, and
// another point.
func forgotten(t *testing.T) (dir string, disk memory) {
	t.Helper()
	dir, disk = vaultIn(t, sampleBlock), noise(3, 20)
	o := ownVault(t, dir, OwnOptions{})
	backUp(t, o, "web1", map[string]Source{"vda": noise(4, 8)})
	gone := backUp(t, o, "web2", map[string]Source{"vda": disk})
	if err := o.Delete(gone); err != nil {
		t.Fatal(err)
	}
	report, err := o.Sweep(t.Context(), SweepOptions{Trash: true})
	if err != nil || len(report.Dropped) != 1 || report.Young == 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, disk
}

func mustHold(t *testing.T, v *Vault, p *Point, disk memory) {
	t.Helper()
	if !bytes.Equal(readDisk(t, v, p, "vda"), disk) {
		t.Errorf("point %s differs from what was backed up", p.ID)
	}
}

// The points are listed before the segments, so that a mark finds all that
// they name; one committed in between is no reason to end the sweep.
func TestAPointCommittedWhileSweepListsDoesNotEndTheSweep(t *testing.T) {
	for _, event := range []string{"sweep.held", "sweep.listed", "sweep.marked"} {
		t.Run(event, func(t *testing.T) {
			dir, _ := forgotten(t)
			var first, second *Point
			o := ownerThat(t, dir, event, func(o *Owner) {
				first = backUp(t, o, "web3", map[string]Source{"vda": noise(16, 8)})
				second = backUp(t, o, "web3", map[string]Source{"vda": append(noise(16, 8), noise(17, 8)...)})
			})
			if report := sweepAll(t, o); report.Removed == 0 {
				t.Errorf("it removed nothing: %+v", report)
			}
			mustHold(t, o.Vault, first, noise(16, 8))
			mustHold(t, o.Vault, second, append(noise(16, 8), noise(17, 8)...))
			mustCheck(t, o.Vault)
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAPointCommittedDuringAMarkKeepsWhatItFoundInPacksThatNothingNamed(t *testing.T) {
	for _, event := range []string{"sweep.held", "sweep.listed", "sweep.marked"} {
		t.Run(event, func(t *testing.T) {
			dir, disk := forgotten(t)
			var p *Point
			o := ownerThat(t, dir, event, func(o *Owner) { p = backUp(t, o, "web3", map[string]Source{"vda": disk}) })
			report := sweepAll(t, o)
			if p.Sizes.Stored > 4*sampleBlock || report.Pinned == 0 && event == "sweep.marked" {
				t.Errorf("the backup stored %d bytes, the sweep says %+v", p.Sizes.Stored, report)
			}
			mustHold(t, o.Vault, p, disk)
			mustCheck(t, o.Vault)
			sweepAll(t, o)
			mustHold(t, o.Vault, p, disk)
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestABackupThatBeganBeforeASweepAndIsCommittedAfterItKeepsWhatItFound(t *testing.T) {
	dir, disk := forgotten(t)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	b, err := o.Begin(t.Context(), BackupOptions{Machine: "web3", Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AddDisk(t.Context(), DiskInfo{Name: "vda"}, disk, nil); err != nil {
		t.Fatal(err)
	}
	if report := sweepAll(t, o); report.Pinned == 0 {
		t.Errorf("nothing was pinned: %+v", report)
	}
	p, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, o.Vault, p, disk)
	mustCheck(t, o.Vault)
}

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

func TestAFolderOfPointsThatIsMissingWhenSweepLooksCostsNoPoint(t *testing.T) {
	for _, folder := range []string{pointsDir, "a machine's"} {
		t.Run(folder, func(t *testing.T) {
			dir := vaultIn(t, sampleBlock)
			o := ownVault(t, dir, OwnOptions{})
			disk := noise(8, 10)
			p := backUp(t, o, "web1", map[string]Source{"vda": disk})
			backUp(t, o, "web2", map[string]Source{"vda": noise(9, 10)})
			gone := filepath.Join(dir, pointsDir)
			if folder != pointsDir {
				gone = filepath.Join(gone, string(p.Machine))
			}
			if err := os.Rename(gone, gone+".elsewhere"); err != nil {
				t.Fatal(err)
			}
			if report, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true}); err == nil {
				if report.PutBack == 0 {
					t.Errorf("it did not see that points are missing: %+v", report)
				}
			} else if err := os.Rename(gone+".elsewhere", gone); err != nil { // it refused: the folder is back
				t.Fatal(err)
			}
			points, err := o.Points(t.Context())
			if err != nil || len(points) != 2 {
				t.Errorf("%d points, %v", len(points), err)
			}
			mustHold(t, o.Vault, p, disk)
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestASweepWhoseClockIsIn1970OrFarAheadRemovesNothing(t *testing.T) {
	dir, _ := forgotten(t)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	points, err := o.Points(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Delete(points[0]); err != nil {
		t.Fatal(err)
	}
	before := packBytes(t, o.Vault)
	for _, clock := range []time.Time{time.Unix(100, 0), time.Now().AddDate(1, 0, 0)} {
		report, err := o.Sweep(t.Context(), SweepOptions{Clock: func() time.Time { return clock }})
		if !errors.Is(err, ErrClock) || report.Removed != 0 || len(report.Dropped) != 0 {
			t.Errorf("at %s: %+v, %v", clock, report, err)
		}
	}
	trash, err := o.Trash(t.Context())
	if err != nil || len(trash) != 1 || packBytes(t, o.Vault) != before {
		t.Errorf("%d points in the trash, %v; %d bytes of packs, before %d", len(trash), err, packBytes(t, o.Vault), before)
	}
	mustCheck(t, o.Vault)
}

// Such a sweep would note its time as right, and the right one as far past it.
func TestASweepOfANewVaultWhoseClockIsIn1970IsNotBelievedLater(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{Clock: func() time.Time { return time.Unix(100, 0) }})
	if _, err := o.Sweep(t.Context(), SweepOptions{}); !errors.Is(err, ErrClock) {
		t.Errorf("a sweep in 1970: %v", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = ownVault(t, dir, OwnOptions{})
	defer o.Close()
	p := backUp(t, o, "web1", map[string]Source{"vda": noise(21, 4)})
	if err := o.Delete(p); err != nil {
		t.Error(err)
	}
	sweepAll(t, o)
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

func TestALockThatMeetsADropHoldsOrIsRefused(t *testing.T) {
	o := ownVault(t, vaultIn(t, sampleBlock), OwnOptions{})
	defer o.Close()
	held := 0
	for i := range 25 {
		disk := noise(uint64(i), 2)
		p := backUp(t, o, "web1", map[string]Source{"vda": disk})
		if err := o.Delete(p); err != nil {
			t.Fatal(err)
		}
		var locked error
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 40 * time.Microsecond)
			locked = o.Lock(p, time.Now().Add(time.Hour))
		})
		sweepAll(t, o)
		wg.Wait()
		if locked != nil && !errors.Is(locked, ErrNotFound) {
			t.Fatal(locked)
		}
		sweepAll(t, o)
		trash, err := o.Trash(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		there := slices.ContainsFunc(trash, func(q *Point) bool { return q.ID == p.ID })
		if there != (locked == nil) {
			t.Errorf("lock: %v; the point is there: %v", locked, there)
		}
		if there {
			held++
			mustHold(t, o.Vault, p, disk)
		}
	}
	t.Logf("%d of 25 locks were in time", held)
	mustCheck(t, o.Vault)
}

// A folder in a pack's place makes reads of it fail, and is no damage.
func TestATransientReadErrorEndsASweepOrKeepsThePackAndIsForgotten(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	o.store.packBytes = crashPackBytes
	disk := noise(11, 100)
	p := backUp(t, o, "web1", map[string]Source{"vda": disk})
	half := append(noise(12, 50), disk[50*sampleBlock:]...)
	q := backUp(t, o, "web1", map[string]Source{"vda": half})
	if err := o.Delete(p); err != nil {
		t.Fatal(err)
	}
	packs, err := filepath.Glob(filepath.Join(dir, packsDir, "*", "*", "*"))
	if err != nil || len(packs) < 6 {
		t.Fatal(packs, err)
	}
	for _, name := range packs {
		if err := os.Rename(name, name+".aside"); err != nil {
			continue // it went with a sweep
		}
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
		report, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true})
		t.Logf("%+v, %v", report, err)
		if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := os.Rename(name+".aside", name); err != nil {
			t.Fatal(err)
		}
		mustHold(t, o.Vault, q, half)
	}
	sweepAll(t, o)
	mustHold(t, o.Vault, q, half)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = ownVault(t, dir, OwnOptions{})
	defer o.Close()
	mustHold(t, o.Vault, q, half)
	sweepAll(t, o)
	mustCheck(t, o.Vault)
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

func TestAPackRewrittenUnderAnOpenReaderIsReadOn(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	o.store.packBytes = crashPackBytes
	disk := noise(15, 80)
	p := backUp(t, o, "web1", map[string]Source{"vda": disk})
	v, err := Open(t.Context(), dir, Options{BlockCache: 1, PageCache: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	d, err := v.OpenDisk(p, "vda")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var reads atomic.Int64
	wg.Go(func() {
		for ; ctx.Err() == nil; reads.Add(1) {
			b := make([]byte, d.Size())
			if _, err := d.ReadAt(b, 0); err != nil || !bytes.Equal(b, disk) {
				t.Errorf("a read while packs are rewritten: %v", err)
				return
			}
		}
	})
	for i := range 12 { // each makes every pack lose something that nothing names
		mixed := bytes.Clone(disk)
		for at := i * 100; at+100 < len(mixed); at += 5 * sampleBlock {
			copy(mixed[at:], []byte{byte(i), 1, 2, 3})
		}
		q := backUp(t, o, "web2", map[string]Source{"vda": memory(mixed)})
		if err := o.Delete(q); err != nil {
			t.Fatal(err)
		}
		sweepAll(t, o)
	}
	cancel()
	wg.Wait()
	t.Logf("%d reads", reads.Load())
	mustCheck(t, o.Vault)
}
