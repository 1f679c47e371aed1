package blockstore

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

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

// A record comes back when its removal was not durable, or from a copy of the
// vault that was laid over it.
func TestAPointThatWasDroppedAndWhoseRecordCameBackDoesNotEndSweeps(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	kept := backUp(t, o, "web1", map[string]Source{"vda": noise(22, 20)})
	gone := backUp(t, o, "web1", map[string]Source{"vda": noise(23, 20)})
	name := filepath.Join(dir, pointPath(gone.Machine, gone.Seq, gone.ID))
	record, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Delete(gone); err != nil {
		t.Fatal(err)
	}
	o.opts.Event = func(event string) {
		if event == "sweep.held" { // after the drop, before the mark
			if err := os.WriteFile(name, record, 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	report, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true})
	t.Logf("%+v, %v", report, err)
	o.opts.Event = func(string) {}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = ownVault(t, dir, OwnOptions{})
	defer o.Close()
	sweepAll(t, o)
	mustHold(t, o.Vault, kept, noise(22, 20))
	mustCheck(t, o.Vault)
}
