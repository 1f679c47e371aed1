package far

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// each has a test run with a daemon that sends, and one that writes into shared memory.
func each(t *testing.T, size int, do func(t *testing.T, f *fake, d Daemon)) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprint("shared ", shared), func(t *testing.T) {
			t.Parallel()
			f := newFake(size)
			if shared {
				do(t, f, sharingFake{f})
				return
			}
			do(t, f, f)
		})
	}
}

func TestWhatIsReadIsWhatTheDiskHoldsHoweverItIsRead(t *testing.T) {
	t.Parallel()
	each(t, 9<<20+777, func(t *testing.T, f *fake, d Daemon) {
		_, disk := open(t, d, Options{Cache: 2 << 20})
		var readers sync.WaitGroup
		for seed := range uint64(6) {
			readers.Go(func() {
				r := rand.New(rand.NewPCG(seed, 1))
				at := 0
				for range 150 {
					n := 1 + r.IntN([]int{100, 5000, 300_000, 2 << 20}[r.IntN(4)])
					if r.IntN(3) == 0 || at >= len(f.data) {
						at = r.IntN(len(f.data))
					}
					got := make([]byte, n)
					m, err := disk.ReadAt(got, int64(at))
					end := min(at+n, len(f.data))
					if m != end-at || !bytes.Equal(got[:m], f.data[at:end]) || (err != nil) != (end < at+n) {
						t.Errorf("%d bytes at %d: %d %v", n, at, m, err)
						return
					}
					at += n
				}
			})
		}
		readers.Wait()
		all := make([]byte, len(f.data))
		if err := disk.Direct(t.Context(), all, 0); err != nil || !bytes.Equal(all, f.data) {
			t.Errorf("past the cache: %v", err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if !f.said["the test"] || len(f.said) != 1 {
			t.Errorf("the daemon was told %v", f.said)
		}
	})
}

func TestWhoReadsInOrderIsReadAheadOfAndHolesAreNotRead(t *testing.T) {
	t.Parallel()
	each(t, 60<<20, func(t *testing.T, f *fake, d Daemon) {
		_, disk := open(t, d, Options{})
		for off := 0; off < len(f.data); off += 32 << 10 {
			want(t, disk, f.data, off, 32<<10)
		}
		if n := f.asked.Load(); n > 400 {
			t.Errorf("%d requests for 60 MiB in reads of 32 KiB", n)
		}
		if sent := f.sent.Load(); sent > 46<<20 {
			t.Errorf("%d MiB were read of a disk that holds 40", sent>>20)
		}
		before := f.asked.Load()
		want(t, disk, f.data, len(f.data)-1<<20, 1<<20)
		if f.asked.Load() != before {
			t.Error("what was just read was asked for again")
		}
		f.sent.Store(0)
		_, jumps := open(t, d, Options{})
		for i := range 200 {
			want(t, jumps, f.data, i*7919*4096%(59<<20), 4096)
		}
		if sent := f.sent.Load(); sent > 200*piece*2 {
			t.Errorf("%d KiB were read for 200 reads of 4 KiB here and there", sent>>10)
		}
	})
}

func TestDamageIsAnErrorOfTheDamagedBlockAlone(t *testing.T) {
	t.Parallel()
	for _, block := range []int{16 << 10, 64 << 10, 256 << 10} {
		each(t, 4<<20, func(t *testing.T, f *fake, d Daemon) {
			f.block = block
			f.bad = int64(1<<20 + 256<<10)
			_, disk := open(t, d, Options{})
			if n := disk.BlockSize(); n != block {
				t.Errorf("blocks of %d", n)
			}
			got := make([]byte, 3<<20)
			n, err := disk.ReadAt(got, 0)
			var c *blockstore.CorruptError
			if !errors.As(err, &c) || c.Offset != f.bad || c.Length != int64(block) || c.Disk != "vda" || int64(n) > f.bad || !bytes.Equal(got[:n], f.data[:n]) {
				t.Errorf("%d, %v", n, err)
			}
			for range 2 {
				want(t, disk, f.data, 0, int(f.bad))
				want(t, disk, f.data, int(f.bad)+block, 1<<20)
				want(t, disk, f.data, int(f.bad)-100, 100)
				if _, err := disk.ReadAt(got[:10], f.bad+int64(block)-5); !errors.As(err, &c) {
					t.Errorf("the end of a damaged block: %v", err)
				}
			}
			if err := disk.Direct(t.Context(), got, 0); !errors.As(err, &c) {
				t.Errorf("past the cache: %v", err)
			}
		})
	}
}

func TestAnAnswerThatBreaksOffIsGoneOnWith(t *testing.T) {
	t.Parallel()
	f := newFake(8 << 20)
	_, disk := open(t, f, Options{})
	f.breaks.Store(20)
	want(t, disk, f.data, 0, len(f.data))
	if f.breaks.Load() > 0 {
		t.Error("nothing broke off")
	}
}

func TestADaemonThatIsAwayIsWaitedForALittleAndThenNotAtAll(t *testing.T) {
	t.Parallel()
	each(t, 64<<20, func(t *testing.T, f *fake, d Daemon) {
		var lost error
		_, patient := open(t, d, Options{Patience: time.Minute})
		want(t, patient, f.data, 0, 100)
		f.failing(fmt.Errorf("%w: it was killed", api.ErrUnreachable))
		f.forget("")
		time.AfterFunc(60*time.Millisecond, func() { f.failing(nil) })
		want(t, patient, f.data, 15<<20, 1<<20) // it came back in time
		_, disk := open(t, d, Options{Lost: func(err error) { lost = err }, Patience: 200 * time.Millisecond})
		want(t, disk, f.data, 0, 100)
		f.failing(fmt.Errorf("%w: it was killed", api.ErrUnreachable))
		_, err := disk.ReadAt(make([]byte, 1<<20), 30<<20)
		var passing interface{ Passing() bool }
		if !errors.Is(err, api.ErrUnreachable) || !errors.Is(lost, api.ErrUnreachable) || !errors.As(err, &passing) || !passing.Passing() {
			t.Errorf("%v; lost: %v", err, lost)
		}
		asked := f.asked.Load()
		if _, err := disk.ReadAt(make([]byte, 10), 45<<20); !errors.Is(err, api.ErrUnreachable) {
			t.Errorf("the next: %v", err)
		}
		if f.asked.Load() != asked {
			t.Error("it was asked again at once")
		}
	})
}

func TestRefusalsAndWhatIsGoneAreErrorsThatCallersKnow(t *testing.T) {
	t.Parallel()
	each(t, 4<<20, func(t *testing.T, f *fake, d Daemon) {
		v, disk := open(t, d, Options{})
		f.failing(&api.Problem{Status: 403, Exit: 8, Detail: "anna lacks the permission", Hint: "grant"})
		_, err := disk.ReadAt(make([]byte, 1<<20), 0)
		var p *api.Problem
		if !errors.Is(err, fs.ErrPermission) || !errors.As(err, &p) || p.Hint != "grant" {
			t.Errorf("%v", err)
		}
		if _, err := v.ReadConfig(t.Context(), disk.point, "domain.xml"); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v", err)
		}
		f.failing(&api.Problem{Status: 404, Exit: 6, Detail: "the point is not found"})
		if _, err := disk.ReadAt(make([]byte, 100), 0); !errors.Is(err, blockstore.ErrNotFound) {
			t.Errorf("%v", err)
		}
		f.failing(nil)
		want(t, disk, f.data, 0, 1<<20)
	})
}

func TestExtentsAreThoseOfTheDiskHoweverMuchTheDaemonTellsAtOnce(t *testing.T) {
	t.Parallel()
	f := newFake(30<<20 + 5)
	for _, most := range []int{1, 2, 7, 1000} {
		f.mapAt = most
		_, disk := open(t, f, Options{})
		for _, part := range [][2]int64{{0, 30<<20 + 5}, {5, 10}, {10 * aBlock, 5 * aBlock}, {10*aBlock - 1, 2}, {20<<20 + 3, 1 << 40}, {30<<20 + 5, 10}, {7, 0}} {
			at, end := part[0], min(part[0]+part[1], int64(len(f.data)))
			last := blockstore.Same
			err := disk.Extents(t.Context(), part[0], part[1], func(e blockstore.Extent) error {
				if e.Offset != at || e.Length <= 0 || e.Kind == last {
					t.Fatalf("%+v, where %d comes next, of %v", e, at, part)
				}
				if zero := make([]byte, e.Length); (e.Kind == blockstore.Zero) != bytes.Equal(zero, f.data[at:e.End()]) {
					t.Fatalf("%+v is something else", e)
				}
				at, last = e.End(), e.Kind
				return nil
			})
			if err != nil || at != max(end, part[0]) {
				t.Errorf("extents of %v: they end at %d, %v", part, at, err)
			}
		}
	}
	stop := errors.New("enough")
	_, disk := open(t, f, Options{})
	if err := disk.Extents(t.Context(), 0, 1<<30, func(blockstore.Extent) error { return stop }); err != stop {
		t.Errorf("%v", err)
	}
}

func TestPointsAreThoseThatMayBeSeenAndAreNotAskedForAllTheTime(t *testing.T) {
	t.Parallel()
	f := newFake(1 << 20)
	v, _ := open(t, f, Options{})
	for range 10 {
		points, err := v.Points(t.Context())
		if err != nil || len(points) != 2 || points[1].MachineName != "web1" || len(points[1].Config) != 1 || len(points[1].LeftOut) != 1 {
			t.Fatalf("%v %v", points, err)
		}
		if told := v.Describe(points[0]).(api.Point); told.ID != string(points[0].ID) || told.Note != "" {
			t.Errorf("%+v", told)
		}
	}
	if f.lists != 2 { // one to find the disk
		t.Errorf("they were asked for %d times", f.lists)
	}
	again := func() ([]*blockstore.Point, error) {
		v.mu.Lock()
		v.listed.next = time.Time{}
		v.mu.Unlock()
		return v.Points(t.Context())
	}
	f.failing(fmt.Errorf("%w: gone", api.ErrUnreachable))
	if _, err := again(); err == nil {
		t.Error("a daemon that is away lists no points")
	}
	v.until = time.Time{}
	f.failing(&api.Problem{Status: 403, Exit: 8, Detail: "no"})
	if points, err := again(); err != nil || len(points) != 0 {
		t.Errorf("who may see none any more is told %d, %v", len(points), err)
	}
	fresh := New(t.Context(), f, Options{Vault: "v"})
	defer fresh.Close()
	if _, err := fresh.Points(t.Context()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("who never might: %v", err)
	}
}

func TestClosingEndsWhatReadsAhead(t *testing.T) {
	t.Parallel()
	each(t, 60<<20, func(t *testing.T, f *fake, d Daemon) {
		v, disk := open(t, d, Options{})
		for off := 0; off < 8<<20; off += 1 << 20 {
			want(t, disk, f.data, off, 1<<20)
		}
		v.Close()
		asked := f.asked.Load()
		disk.ReadAt(make([]byte, 10), 50<<20) // whatever it says, it reads nothing ahead
		time.Sleep(5 * time.Millisecond)
		if n := f.asked.Load(); n > asked+1 {
			t.Errorf("%d more requests after the end", n-asked)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for name, m := range f.memory {
			if m != nil {
				t.Errorf("memory %s is shared still", name)
			}
		}
	})
}

func BenchmarkReadInOrder(b *testing.B) {
	f := newFake(256 << 20)
	v := New(context.Background(), sharingFake{f}, Options{Vault: "v"})
	defer v.Close()
	p := &blockstore.Point{ID: "p0000000000000001", Disks: []blockstore.DiskInfo{{Name: "vda", Size: int64(len(f.data))}}}
	disk, err := v.Disk(p, "vda")
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	b.SetBytes(int64(len(buf)))
	for i := range b.N {
		if _, err := disk.ReadAt(buf, int64(i)<<20%int64(len(f.data)-1<<20)); err != nil {
			b.Fatal(err)
		}
	}
}
