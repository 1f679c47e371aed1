package blockstore

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// trouble lets the n-th write or sync of an owner fail, or all from there on.
type trouble struct {
	name    string
	err     error
	writes  bool // writes fail, after half of each; otherwise syncs
	lasting bool

	mu    sync.Mutex
	on    bool
	nth   int
	count int
}

func troubles() []*trouble {
	return []*trouble{
		{name: "a full disk", err: syscall.ENOSPC, writes: true, lasting: true},
		{name: "one write that fails midway", err: syscall.EIO, writes: true},
		{name: "one sync that fails", err: syscall.EIO},
	}
}

// strikes counts, and tells whether this one fails.
func (f *trouble) strikes() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.on {
		return false
	}
	f.count++
	return f.count == f.nth || f.lasting && f.count > f.nth
}

func (f *trouble) set(on bool, nth int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on, f.nth, f.count = on, nth, 0
}

func (f *trouble) install(o *Owner) {
	write, sync := o.dir.Ops.WriteAt, o.dir.Ops.Sync
	if f.writes {
		o.dir.Ops.WriteAt = func(file *os.File, name string, p []byte, off int64) (int, error) {
			if f.strikes() {
				n, _ := write(file, name, p[:len(p)/2], off)
				return n, &os.PathError{Op: "write", Path: file.Name(), Err: f.err}
			}
			return write(file, name, p, off)
		}
		return
	}
	o.dir.Ops.Sync = func(file *os.File, name string) error {
		if f.strikes() {
			return &os.PathError{Op: "sync", Path: file.Name(), Err: f.err}
		}
		return sync(file, name)
	}
}

// everyWork is what is done while something fails.
var everyWork = map[string]func(*testing.T, *Owner) error{
	"backup": func(t *testing.T, o *Owner) error {
		_, err := backUpSelfTold(t.Context(), o, "vm0", noise(31, 14))
		return err
	},
	"sweep": func(t *testing.T, o *Owner) error {
		_, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true})
		return err
	},
	"catalogue": func(t *testing.T, o *Owner) error {
		points, err := o.Points(t.Context())
		if err != nil {
			return err
		}
		c, err := putCatalogue(o, points[0], CatalogueID{}, []byte("head"), noise(7, 3))
		if err == nil {
			_, err = putCatalogue(o, points[0], c.ID, []byte("more"))
		}
		return err
	},
	"deletion": func(t *testing.T, o *Owner) error {
		points, err := o.Points(t.Context())
		if err != nil {
			return err
		}
		for _, p := range points {
			if p.MachineName == "vm9" {
				return o.Delete(p)
			}
		}
		return nil
	},
}

// everyVault is a vault in which all of that has something to do.
func everyVault(t *testing.T) string {
	t.Helper()
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	o.store.packBytes = crashPackBytes
	for i, machine := range []string{"vm0", "vm1", "vm2", "vm9"} {
		disk := noise(30, 24)
		copy(disk[:8*sampleBlock], noise(uint64(40+i), 8))
		p, err := backUpSelfTold(t.Context(), o, machine, disk)
		if err != nil {
			t.Fatal(err)
		}
		if machine == "vm1" {
			if err := o.Delete(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestEveryWriteAndEverySyncMayFail lets each write and each sync of a backup, a sweep, a
// catalogue and a deletion fail in turn.
func TestEveryWriteAndEverySyncMayFail(t *testing.T) {
	from := everyVault(t)
	for work, do := range everyWork {
		for _, f := range troubles() {
			t.Run(work+", "+f.name, func(t *testing.T) {
				t.Parallel()
				total := everyCount(t, from, f, do)
				if total == 0 {
					t.Fatal("it writes nothing")
				}
				step := 1
				if os.Getenv("HOLDFAST_TORTURE") == "" {
					step = max(1, total/12)
				}
				for n := 1; n <= total && !t.Failed(); n += step {
					everyFail(t, copyVault(t, from), f, do, n)
				}
			})
		}
	}
}

func everyOwner(t *testing.T, dir string, f *trouble) *Owner {
	t.Helper()
	o := ownVault(t, dir, OwnOptions{Options: Options{Warn: func(string) {}}})
	o.store.packBytes = crashPackBytes
	f.install(o)
	return o
}

// everyCount returns how often something could fail.
func everyCount(t *testing.T, from string, f *trouble, do func(*testing.T, *Owner) error) int {
	t.Helper()
	o := everyOwner(t, copyVault(t, from), f)
	f.set(true, -1)
	f.lasting, f.nth = false, -1
	if err := do(t, o); err != nil {
		t.Fatal(err)
	}
	f.lasting = f.err == syscall.ENOSPC
	total := f.count
	f.set(false, 0)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return total
}

func everyFail(t *testing.T, dir string, f *trouble, do func(*testing.T, *Owner) error, n int) {
	t.Helper()
	o := everyOwner(t, dir, f)
	before := mustTellTheTruth(t, o.Vault)
	f.set(true, n)
	err := do(t, o)
	if err != nil && (!errors.Is(err, f.err) || errors.Is(err, ErrFull) != (f.err == syscall.ENOSPC) || len(err.Error()) < 20) {
		t.Errorf("the %d. fails: %v", n, err)
	}
	mustKeep(t, fmt.Sprintf("when the %d. failed", n), dir, before)
	f.set(false, 0)
	if err := do(t, o); err != nil {
		t.Errorf("the %d. failed, and it does not work since: %v", n, err)
	}
	mustKeep(t, fmt.Sprintf("after the %d. failed", n), dir, before)
	if err := o.Close(); err != nil {
		t.Errorf("the %d. failed: %v", n, err)
	}
	o = ownVault(t, dir, OwnOptions{Options: Options{Warn: func(string) {}}})
	defer o.Close()
	sweepAll(t, o)
	mustKeep(t, fmt.Sprintf("after the %d. failed and a sweep", n), dir, before)
	if left := temps(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// mustKeep finds in a vault what was there before, but for what may be deleted.
func mustKeep(t *testing.T, when, dir string, before map[PointID]*Point) {
	t.Helper()
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	defer v.Close()
	now := mustTellTheTruth(t, v)
	for id, p := range before {
		if now[id] == nil && p.MachineName != "vm9" {
			t.Errorf("%s: point %s of %s is gone", when, id, p.MachineName)
		}
	}
	report, err := v.Check(t.Context(), CheckOptions{Data: true})
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for _, f := range report.Faults {
		t.Errorf("%s: fault %+v", when, f)
	}
}

func TestAVaultThatVanishesWhileABackupRunsIsWholeWhenItIsBack(t *testing.T) {
	dir := everyVault(t)
	o := ownVault(t, dir, OwnOptions{})
	before := mustTellTheTruth(t, o.Vault)
	src := newSlow(noise(50, 60), 30*sampleBlock)
	b, err := o.Begin(t.Context(), BackupOptions{Machine: "vm0", Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		err := b.AddDisk(t.Context(), DiskInfo{Name: "vda"}, src, nil)
		if err == nil {
			_, err = b.Commit(t.Context())
		}
		b.Abort()
		done <- err
	}()
	<-src.started
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	close(src.goOn)
	if err := <-done; err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a backup into a folder that is gone: %v", err)
	}
	if _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true}); err == nil {
		t.Error("a sweep of a folder that is gone found nothing wrong")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made anew")
		os.RemoveAll(dir)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	mustKeep(t, "when it is back", dir, before)
	if _, err := backUpSelfTold(t.Context(), o, "vm0", noise(50, 60)); err != nil {
		t.Errorf("the next backup: %v", err)
	}
	o.Close() // which may tell of what failed
	o = ownVault(t, dir, OwnOptions{})
	defer o.Close()
	if _, err := backUpSelfTold(t.Context(), o, "vm0", noise(50, 60)); err != nil {
		t.Errorf("the next owner's backup: %v", err)
	}
	sweepAll(t, o)
	mustKeep(t, "after the next owner's sweep", dir, before)
}
