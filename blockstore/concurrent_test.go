package blockstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMachinesBackedUpAtOnceShareWhatTheyHaveInCommon(t *testing.T) {
	dir := vaultIn(t, 16<<10)
	o := ownVault(t, dir, OwnOptions{Budget: NewBudget(1)})
	o.store.packBytes = crashPackBytes
	const machines, rounds = 6, 4
	common := make([]byte, 1<<20)
	fill(rand.New(rand.NewPCG(1, 1)), common, len(common))
	var wg sync.WaitGroup
	for m := range machines {
		wg.Go(func() {
			for round := range rounds {
				disk := crashDisk(5, m, round)
				copy(disk[500<<10:], common[:100<<10])
				if _, err := backUpSelfTold(t.Context(), o, fmt.Sprintf("vm%d", m), disk); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	points := mustTellTheTruth(t, o.Vault)
	if len(points) != machines*rounds {
		t.Errorf("%d points, want %d", len(points), machines*rounds)
	}
	seqs := map[string]bool{}
	for _, p := range points {
		seqs[fmt.Sprint(p.MachineName, p.Seq)] = true
	}
	if len(seqs) != len(points) {
		t.Error("points of one machine have the same number")
	}
	mustCheck(t, o.Vault)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReadersSeeWholePointsWhileOthersAreCommittedAndSegmentsMerged(t *testing.T) {
	dir := vaultIn(t, 16<<10)
	o := ownVault(t, dir, OwnOptions{})
	if _, err := backUpSelfTold(t.Context(), o, "vm0", crashDisk(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	reader := childCommand(t, childOrder{Dir: dir, Read: true})
	stdin, err := reader.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	reader.Stdout, reader.Stderr = &out, &out
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { readUntil(t, ctx, dir) })
	}
	const commits = 200
	disk := crashDisk(1, 0, 0)
	for i := range commits {
		copy(disk[i*1000:], fmt.Sprintf("commit %d", i))
		if _, err := backUpSelfTold(t.Context(), o, fmt.Sprintf("vm%d", i%3), disk); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	wg.Wait()
	stdin.Close()
	if err := reader.Wait(); err != nil || !strings.Contains(out.String(), "read ") {
		t.Errorf("the reader in another process: %v: %s", err, &out)
	}
	names, err := o.segmentNames()
	if err != nil || len(names) > 5*maxPerClass {
		t.Errorf("%d segments after %d commits, %v", len(names), commits, err)
	}
	if points := mustTellTheTruth(t, o.Vault); len(points) != commits+1 {
		t.Errorf("%d points, want %d", len(points), commits+1)
	}
	mustCheck(t, o.Vault)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// readUntil reads a vault that others write, through one Vault and through one
// that is opened anew, and checks it.
func readUntil(t *testing.T, ctx context.Context, dir string) {
	t.Helper()
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Error(err)
		return
	}
	defer v.Close()
	for ctx.Err() == nil {
		if err := errors.Join(compareAll(v), readEverything(dir)); err != nil {
			t.Error(err)
			return
		}
		r, err := v.Check(t.Context(), CheckOptions{})
		if err != nil || len(r.Faults) > 0 {
			t.Errorf("check beside backups: %+v, %v", r, err)
			return
		}
	}
}

// slow is a source that says when it was read first, and goes on when it is told.
type slow struct {
	memory
	started chan struct{}
	once    *sync.Once
	goOn    chan struct{}
	after   int64 // offset from which on it waits
}

func newSlow(m memory, after int64) slow {
	return slow{m, make(chan struct{}), new(sync.Once), make(chan struct{}), after}
}

func (s slow) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.after {
		s.once.Do(func() { close(s.started) })
		<-s.goOn
	}
	return s.memory.ReadAt(p, off)
}

func TestCancellingOneBackupHarmsNoneThatCountsOnTheSamePack(t *testing.T) {
	dir := vaultIn(t, 16<<10)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	disk := make([]byte, 4<<20)
	for i := range disk {
		disk[i] = byte(rand.Uint32())
	}
	first, err := o.Begin(t.Context(), BackupOptions{Machine: "first"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	src := newSlow(disk, 3<<20)
	done := make(chan error)
	go func() { done <- first.AddDisk(ctx, DiskInfo{Name: "vda"}, src, nil) }()
	<-src.started
	// The second finds most of its content in the pack that the first fills.
	second, err := o.Begin(t.Context(), BackupOptions{Machine: "second"})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.AddDisk(t.Context(), DiskInfo{Name: "vda"}, memory(disk), nil); err != nil {
		t.Fatal(err)
	}
	cancel()
	close(src.goOn)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled backup: %v", err)
	}
	first.Abort()
	p, err := second.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readDisk(t, o.Vault, p, "vda"), disk) {
		t.Error("the point differs from what was backed up")
	}
	mustCheck(t, o.Vault)
	if _, err := first.Commit(t.Context()); err == nil {
		t.Error("a backup that was aborted was committed")
	}
}

func TestAVaultHasOneOwnerAndASecondWaitsOrIsTold(t *testing.T) {
	dir := vaultIn(t, 16<<10)
	o := ownVault(t, dir, OwnOptions{})
	_, err := Own(t.Context(), dir, OwnOptions{MinFree: -1})
	var busy *BusyError
	if !errors.As(err, &busy) || busy.Owner.PID != os.Getpid() || busy.OtherHost {
		t.Fatalf("a second owner: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = Own(ctx, dir, OwnOptions{MinFree: -1, Wait: time.Hour, Waiting: func(*BusyError) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled wait: %v", err)
	}
	waiting := make(chan struct{})
	go func() {
		<-waiting
		o.Close()
	}()
	second, err := Own(t.Context(), dir, OwnOptions{MinFree: -1, Wait: time.Hour, Waiting: func(*BusyError) { close(waiting) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestManyOwnersThatOpenANewVaultAtOnceAreOneWriter(t *testing.T) {
	dir := vaultIn(t, 16<<10)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			o, err := Own(t.Context(), dir, OwnOptions{MinFree: -1, Wait: time.Minute})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := backUpSelfTold(t.Context(), o, "web1", crashDisk(3, 0, i)); err != nil {
				t.Error(err)
			}
			if err := o.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if points := mustTellTheTruth(t, v); len(points) != 6 {
		t.Errorf("%d points", len(points))
	}
	mustCheck(t, v)
}

func TestAMachineIsBackedUpOnceAtATime(t *testing.T) {
	o := ownVault(t, vaultIn(t, 16<<10), OwnOptions{})
	defer o.Close()
	const tries = 8
	var wg sync.WaitGroup
	begun := make(chan *Backup, tries)
	for range tries {
		wg.Go(func() {
			b, err := o.Begin(t.Context(), BackupOptions{Machine: "web1"})
			if err == nil {
				begun <- b
			} else if !errors.Is(err, ErrRunning) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(begun)
	if len(begun) != 1 {
		t.Errorf("%d of %d began", len(begun), tries)
	}
	for b := range begun {
		b.Abort()
	}
	machines, err := o.Machines(t.Context())
	if err != nil || len(machines) != 1 {
		t.Errorf("machines %v, %v", machines, err)
	}
	b, err := o.Begin(t.Context(), BackupOptions{Machine: "web1"})
	if err != nil {
		t.Fatalf("after the first ended: %v", err)
	}
	b.Abort()
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here")
	}
	return len(list)
}

// Not parallel: it counts what belongs to the process.
func TestClosingGivesEveryGoroutineAndDescriptorBack(t *testing.T) {
	dir := vaultIn(t, 16<<10)
	use := func() {
		o := ownVault(t, dir, OwnOptions{})
		if _, err := backUpSelfTold(t.Context(), o, "web1", crashDisk(3, 0, 0)); err != nil {
			t.Fatal(err)
		}
		cancelled, stop := context.WithCancel(t.Context())
		b, err := o.Begin(t.Context(), BackupOptions{Machine: "web2"})
		if err != nil {
			t.Fatal(err)
		}
		stop()
		if err := b.AddDisk(cancelled, DiskInfo{Name: "vda"}, memory(crashDisk(4, 0, 0)), nil); err == nil {
			t.Error("a cancelled backup goes on")
		}
		b.Abort()
		mustTellTheTruth(t, o.Vault)
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		if err := readEverything(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Own(t.Context(), dir+"/nothing", OwnOptions{}); !errors.Is(err, ErrNotVault) {
			t.Errorf("no vault: %v", err)
		}
	}
	use() // what libraries start once
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	for range 3 {
		use()
	}
	var g int
	for range 3000 { // some end a moment after they said so
		if g = runtime.NumGoroutine(); g <= goroutines {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if g > goroutines {
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines, %d before:\n%s", g, goroutines, buf[:runtime.Stack(buf, true)])
	}
	if n := descriptors(t); n > files {
		t.Errorf("%d descriptors, %d before", n, files)
	}
}
