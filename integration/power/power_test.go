package power

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// fact is what was promised about a point, and when: each as the size that the log
// of the disk had at that moment.
type fact struct {
	committed         int64 // Commit returned
	deleting, deleted int64 // Delete was called, and returned
	dropping, dropped int64 // the same of the sweep that dropped it
}

const never = math.MaxInt64

// recorder is a vault on a disk that keeps a log.
type recorder struct {
	t     *testing.T
	dir   string // of the vault
	log   string
	mu    sync.Mutex
	facts map[blockstore.PointID]*fact
}

func (c *recorder) now() int64 {
	st, err := os.Stat(c.log)
	if err != nil {
		c.t.Error(err)
		return 0
	}
	return st.Size()
}

// TestAPowerLossAtAnyFlushLosesNothingThatWasCommitted writes a vault on a file
// system whose disk keeps a log, and makes of the log what a power loss could have left.
func TestAPowerLossAtAnyFlushLosesNothingThatWasCommitted(t *testing.T) {
	for name, mkfs := range fileSystems {
		t.Run(name, func(t *testing.T) { losesNothing(t, mkfs, 0, rounds(6, 20, 200)) })
	}
}

// TestAPowerLossOfASlowDiskLosesNothingThatWasCommitted is the same on a disk
// whose requests overtake each other.
func TestAPowerLossOfASlowDiskLosesNothingThatWasCommitted(t *testing.T) {
	for name, mkfs := range fileSystems {
		t.Run(name, func(t *testing.T) { losesNothing(t, mkfs, 3*time.Millisecond, rounds(4, 10, 100)) })
	}
}

func losesNothing(t *testing.T, mkfs []string, slow time.Duration, cuts int) {
	need(t, mkfs[0], "losetup", "fusermount3", "cp")
	r := seeded(t)
	folder := scratch(t)
	base, log := filepath.Join(folder, "base"), filepath.Join(folder, "log")
	makeFileSystem(t, base, mkfs)
	facts := record(t, folder, base, log, slow, r)
	replay(t, base, log, facts, r, cuts)
}

// makeFileSystem writes an image, as small as XFS allows.
func makeFileSystem(t *testing.T, image string, mkfs []string) {
	t.Helper()
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 320<<20); err != nil {
		t.Fatal(err)
	}
	tool(t, mkfs[0], append(mkfs[1:], image)...)
}

// record writes a vault onto a copy of base, and returns what was promised.
func record(t *testing.T, folder, base, log string, slow time.Duration, r *rand.Rand) map[blockstore.PointID]*fact {
	t.Helper()
	image := filepath.Join(folder, "image")
	tool(t, "cp", "--sparse=always", base, image)
	disk, stop := serve(t, folder, image, log, slow)
	defer stop()
	at, unmount := mountImage(t, disk)
	defer unmount()
	c := &recorder{t: t, dir: filepath.Join(at, "vault"), log: log, facts: map[blockstore.PointID]*fact{}}
	if _, err := blockstore.Create(t.Context(), c.dir, blockstore.CreateOptions{BlockSize: 16 << 10}); err != nil {
		t.Fatal(err)
	}
	c.work(r, rounds(6, 10, 25))
	return c.facts
}

// serve serves an image as a disk that keeps a log, from a process of its own.
func serve(t *testing.T, folder, image, log string, slow time.Duration) (disk string, stop func()) {
	t.Helper()
	served := filepath.Join(folder, "served")
	if err := os.Mkdir(served, 0o700); err != nil {
		t.Fatal(err)
	}
	server := child(t, childOrder{Mount: served, Image: image, Log: log, Slow: slow})
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // until it serves
		if _, err := os.Stat(DiskPath(served)); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the disk is not served")
		}
	}
	return DiskPath(served), func() {
		server.Process.Signal(syscall.SIGTERM)
		if err := server.Wait(); err != nil {
			t.Errorf("serving the disk: %v", err)
		}
	}
}

// work backs machines up side by side, deletes points and sweeps.
func (c *recorder) work(r *rand.Rand, rounds int) {
	o := own(c.t, c.dir)
	disks := map[string]disk{"web1": make(disk, 2<<20), "db1": make(disk, 1<<20)}
	for round := range rounds {
		var wg sync.WaitGroup
		for machine, d := range disks {
			change(d, r)
			wg.Go(func() { c.backUp(o, machine, d) })
		}
		wg.Wait()
		if round > 1 && r.IntN(2) == 0 {
			c.delete(o, r)
		}
		if r.IntN(3) == 0 {
			c.sweep(o, r.IntN(2) == 0)
		}
		if r.IntN(4) == 0 {
			if err := o.Close(); err != nil {
				c.t.Fatal(err)
			}
			o = own(c.t, c.dir)
		}
	}
	c.sweep(o, true)
	if err := o.Close(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *recorder) backUp(o *blockstore.Owner, machine string, d disk) {
	p, err := backUp(context.Background(), o, machine, d)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.facts[p.ID] = &fact{c.now(), never, never, never, never}
}

func (c *recorder) delete(o *blockstore.Owner, r *rand.Rand) {
	points, err := o.Points(c.t.Context())
	if err != nil || len(points) == 0 {
		c.t.Fatalf("%d points, %v", len(points), err)
	}
	p := points[r.IntN(len(points))]
	f := c.facts[p.ID]
	f.deleting = c.now()
	if err := o.Delete(p); err != nil {
		c.t.Fatal(err)
	}
	f.deleted = c.now()
}

func (c *recorder) sweep(o *blockstore.Owner, trash bool) {
	before := c.now()
	if trash {
		for _, f := range c.facts {
			if f.deleted != never && f.dropping == never {
				f.dropping = before
			}
		}
	}
	report, err := o.Sweep(c.t.Context(), blockstore.SweepOptions{Now: true, Full: true, Trash: trash})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, p := range report.Dropped {
		c.facts[p.ID].dropped = c.now()
	}
}

// replay cuts the log at flushes all over it.
func replay(t *testing.T, base, log string, facts map[blockstore.PointID]*fact, r *rand.Rand, cuts int) {
	t.Helper()
	l, err := OpenLog(log)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	disk, err := os.OpenFile(base, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	player, flushes := l.Play(disk), l.Flushes()
	t.Logf("%d points, %d flushes", len(facts), flushes)
	if flushes < 50 {
		t.Fatal("the file system does not flush its disk")
	}
	done := 0
	for n := 0; ; n++ {
		if more, err := player.Flush(); err != nil {
			t.Fatal(err)
		} else if !more {
			break
		}
		if r.IntN(flushes-n) >= cuts-done { // of those that are left, so many are chosen
			continue
		}
		done++
		cut(t, player, base, facts, r)
		if t.Failed() {
			t.Fatalf("after flush %d of %d", n+1, flushes)
		}
	}
}

// cut takes the power away once, and looks at what is left.
func cut(t *testing.T, player *Player, base string, facts map[blockstore.PointID]*fact, r *rand.Rand) {
	t.Helper()
	image := base + ".lost"
	tool(t, "cp", "--sparse=always", base, image)
	lost, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	at, err := player.Cut(lost, r)
	lost.Close()
	if err != nil {
		t.Fatal(err)
	}
	mounted, unmount := mountImage(t, image)
	defer unmount()
	dir := filepath.Join(mounted, "vault")
	v, err := blockstore.Open(t.Context(), dir, blockstore.Options{Warn: func(s string) { t.Log("warning: " + s) }})
	if err != nil {
		if anyBefore(facts, at) {
			t.Errorf("the vault cannot be opened: %v", err)
		}
		return // its creation was cut short
	}
	listed, trash := mustBeWhole(t, v)
	compare(t, "after the power loss", facts, at, listed, trash)
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	listed, trash = goesOn(t, dir, r)
	compare(t, "since the next owner came", facts, at, listed, trash)
}

func anyBefore(facts map[blockstore.PointID]*fact, at int64) bool {
	for _, f := range facts {
		if f.committed <= at {
			return true
		}
	}
	return false
}

// compare holds what is there against what had been promised by then.
func compare(t *testing.T, when string, facts map[blockstore.PointID]*fact, at int64, listed, trash map[blockstore.PointID]bool) {
	t.Helper()
	for id, f := range facts {
		switch {
		case f.dropped <= at && (listed[id] || trash[id]):
			t.Errorf("%s: point %s was dropped and is there again", when, id)
		case f.committed <= at && at <= f.dropping && !listed[id] && !trash[id]:
			t.Errorf("%s: point %s was committed and is gone", when, id)
		case f.committed <= at && at <= f.deleting && trash[id]:
			t.Errorf("%s: point %s was not deleted and is in the trash", when, id)
		case f.deleted <= at && listed[id]:
			t.Errorf("%s: point %s was deleted and is listed", when, id)
		}
	}
}
