package blockstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// The steps of the benchmark of size, each run in a process of its own, so that
// its memory is its own:
//
//	HOLDFAST_SIZE_DIR     the vault's folder; step make makes it
//	HOLDFAST_SIZE_STEP    one of sizeSteps
//	HOLDFAST_SIZE_BLOCKS  blocks that points name; also HOLDFAST_SIZE_MACHINES, HOLDFAST_SIZE_DAYS
//
// Lines that begin with "size:" are for the one who runs them.
const sizeEnv = "HOLDFAST_SIZE_"

var sizeSteps = map[string]func(*testing.T, string){
	"make":   sizeMake,
	"points": sizePoints,
	"lookup": sizeLookup,
	"first":  sizeFirst,
	"sweep":  sizeSweep,
	"index":  sizeIndex,
	"backup": sizeBackup,
}

func TestSizeStep(t *testing.T) {
	dir := os.Getenv(sizeEnv + "DIR")
	if dir == "" {
		t.Skip("a step of the benchmark of size, which integration/bench runs")
	}
	step := sizeSteps[os.Getenv(sizeEnv+"STEP")]
	if step == nil {
		t.Fatalf("no step %q", os.Getenv(sizeEnv+"STEP"))
	}
	memory := watchAnon()
	began, used := time.Now(), cpu()
	step(t, dir)
	name := os.Getenv(sizeEnv + "STEP")
	took, peak := time.Since(began).Seconds(), memory()>>20
	say("%s: %.1f s wall, %.1f s CPU, %d MiB RssAnon at most", name, took, (cpu() - used).Seconds(), peak)
	if name == "sweep" || name == "index" || name == "points" {
		figure(name+", RssAnon", "MiB", float64(peak))
	}
}

func say(format string, args ...any) { fmt.Printf("size: "+format+"\n", args...) }

// figure is a line for the table of integration/bench.
func figure(what, unit string, value float64) { fmt.Printf("figure: %s|%s|%g\n", what, unit, value) }

func sizeNumber(t *testing.T, name string, otherwise int64) int64 {
	text := os.Getenv(sizeEnv + name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(n)
}

// watchAnon samples the anonymous memory of this process until what it returns
// is called, which tells the most.
func watchAnon() (most func() int64) {
	stop, result := make(chan struct{}), make(chan int64)
	go func() {
		peak := int64(0)
		for {
			peak = max(peak, rssAnon())
			select {
			case <-stop:
				result <- peak
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() int64 { close(stop); return <-result }
}

// rssAnon is the anonymous memory of this process in bytes.
func rssAnon() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssAnon:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

func sizeMake(t *testing.T, dir string) {
	s := sizedVault{Blocks: sizeNumber(t, "BLOCKS", 1e6), Dead: sizeNumber(t, "DEAD", 300_000),
		Machines: int(sizeNumber(t, "MACHINES", 200)), Days: int(sizeNumber(t, "DAYS", 365))}
	if err := makeSized(t.Context(), dir, s, say); err != nil {
		t.Fatal(err)
	}
	var sum int64
	names, err := filepath.Glob(filepath.Join(dir, segmentsDir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		st, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		sum += st.Size()
	}
	say("%d blocks, %d points, %d segments of %d MiB", s.Blocks+s.Dead, s.Machines*s.Days, len(names), sum>>20)
}

// sizePoints opens the vault and lists its points, three times.
func sizePoints(t *testing.T, dir string) {
	for i := range 3 {
		began := time.Now()
		v, err := Open(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		opened := time.Since(began)
		points, err := v.Points(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		say("open %.3f s, then %d points in %.3f s", opened.Seconds(), len(points), time.Since(began).Seconds()-opened.Seconds())
		if i == 2 {
			figure(fmt.Sprintf("open and list %d points, warm", len(points)), "s", time.Since(began).Seconds())
		}
		v.Close()
	}
}

// sizeFirst reads the first byte of the oldest segment's point, from a vault
// just opened.
func sizeFirst(t *testing.T, dir string) {
	for i := range 3 {
		began := time.Now()
		v, err := Open(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		points, err := v.Points(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p, err := FindPoint(points, "real", "latest")
		if err != nil {
			t.Fatal(err)
		}
		d, err := v.OpenDisk(p, "vda")
		if err != nil {
			t.Fatal(err)
		}
		got, want := make([]byte, 64<<10), make([]byte, 64<<10)
		if _, err := d.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		generated{}.ReadAt(want, 0)
		if !bytes.Equal(got, want) {
			t.Fatal("it is not what was stored")
		}
		say("first block of a restore after %.2f s", time.Since(began).Seconds())
		if i == 0 {
			figure("first block of a restore, with opening", "s", time.Since(began).Seconds())
		}
		v.Close()
	}
}

// sizeLookup looks IDs up, half of them missing, in the largest segment of at
// most 60 million keys, and in all.
func sizeLookup(t *testing.T, dir string) {
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	set := v.tables.Load()
	anon := rssAnon()
	say("%d segments are mapped, %d MiB RssAnon after opening", len(set.tables), anon>>20)
	figure("memory after opening", "MiB", float64(anon>>20))
	var one *segment.Table
	var all int64
	for _, u := range set.tables {
		all += u.Count
		if u.Count <= 60e6 && (one == nil || u.Count > one.Count) {
			one = u
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	const n = 50_000
	pick := func(tables []*segment.Table, misses bool) []ID {
		ids := make([]ID, n)
		sum := int64(0)
		for _, u := range tables {
			sum += u.Count
		}
		for i := range ids {
			at := r.Int64N(sum)
			for _, u := range tables {
				if at < u.Count {
					e, err := u.Entry(at)
					if err != nil {
						t.Fatal(err)
					}
					ids[i] = e.ID
					break
				}
				at -= u.Count
			}
			if misses && i%2 == 1 {
				ids[i][6] ^= 0x5a // not there
			}
		}
		return ids
	}
	for _, what := range []struct {
		short, name string
		misses      bool
		tables      []*segment.Table
	}{{"one segment, half of them misses", fmt.Sprintf("a segment of %d keys", one.Count), true, []*segment.Table{one}}, {"all segments", fmt.Sprintf("%d segments of %d keys", len(set.tables), all), false, set.tables},
		{"all segments, half of them misses,", fmt.Sprintf("%d segments of %d keys, half of them misses", len(set.tables), all), true, set.tables}} {
		ids := pick(what.tables, what.misses)
		part, best := &tableSet{tables: what.tables}, math.Inf(1)
		for _, round := range []string{"first", "warm", "warm"} {
			began, found := time.Now(), 0
			for _, id := range ids {
				if err := part.find(id, func(place) bool { found++; return true }); err != nil {
					t.Fatal(err)
				}
			}
			took := float64(time.Since(began).Microseconds()) / n
			say("look-up in %s, %s: %.2f µs (%d of %d found)", what.name, round, took, found, n)
			best = min(best, took)
		}
		figure("look-up in "+what.short+" warm", "µs", best)
	}
}

// sizeSweep sweeps, and says how long marking took.
func sizeSweep(t *testing.T, dir string) {
	began := time.Now()
	var mu sync.Mutex
	last := began
	o, err := Own(t.Context(), dir, OwnOptions{MinFree: -1, Event: func(name string) {
		if strings.HasPrefix(name, "sweep.") && name != "sweep.removed" && name != "sweep.forgotten" {
			mu.Lock()
			defer mu.Unlock()
			say("%s after %.1f s more", name, time.Since(last).Seconds())
			last = time.Now()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	say("open for writing %.1f s", time.Since(began).Seconds())
	last = time.Now()
	whole := last
	r, err := o.Sweep(t.Context(), SweepOptions{Now: true, DryRun: os.Getenv(sizeEnv+"DRY") != ""})
	if err != nil {
		t.Fatal(err)
	}
	say("removal took %.1f s; %d packs, %d removed, %d GiB live, %d MiB freed", time.Since(last).Seconds(), r.Packs, r.Removed, r.Live>>30, r.Freed>>20)
	figure("sweep", "s", time.Since(whole).Seconds())
}

// sizeIndex makes the index anew.
func sizeIndex(t *testing.T, dir string) {
	began := time.Now()
	if err := RebuildIndex(t.Context(), dir, OwnOptions{MinFree: -1}, nil); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began).Seconds()
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	keys := int64(0)
	for _, u := range v.tables.Load().tables {
		keys += u.Count
	}
	folders, err := filepath.Glob(filepath.Join(dir, indexDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		say("index %s: %.1f bytes a key", filepath.Ext(f), float64(indexBytes(f))/float64(keys))
		if filepath.Ext(f) == "" {
			figure("index, a key", "bytes", float64(indexBytes(f))/float64(keys))
		}
	}
	say("index of %d keys made in %.1f s: %.0f keys/s", keys, took, float64(keys)/took)
	figure("index made from segments", "keys/s", float64(keys)/took)
}

// counted is a source of blocks that differ, also from those of another seed, and
// compress to almost nothing.
type counted struct {
	size int64
	seed uint64
}

func (c counted) Size() int64 { return c.size }

func (c counted) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	for i := 0; i < len(p); i += DefaultBlockSize {
		binary.LittleEndian.PutUint64(p[i:], uint64(off)+uint64(i)+1)
		binary.LittleEndian.PutUint64(p[i+8:], c.seed)
	}
	return len(p), nil
}

func (c counted) Extents(_ context.Context, fn func(Extent) error) error {
	return fn(Extent{0, c.size, Data})
}

// sizeBackup backs a disk up twice, for two machines: the second finds every
// block in the index, among all others that are there.
func sizeBackup(t *testing.T, dir string) {
	o, err := Own(t.Context(), dir, OwnOptions{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	disk := counted{sizeNumber(t, "GIB", 16) << 30, rand.Uint64()}
	suffix := randomHex(2)
	for _, machine := range []string{"first", "again"} {
		runtime.GC()
		memory := watchAnon()
		began, used := time.Now(), cpu()
		b, err := o.Begin(t.Context(), BackupOptions{Machine: machine + suffix, Time: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.AddDisk(t.Context(), DiskInfo{Name: "vda"}, disk, nil); err != nil {
			t.Fatal(err)
		}
		p, err := b.Commit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(began).Seconds()
		peak := memory() >> 20
		say("backup %s of %d GiB: %d MiB stored, %.1f s, %.1f s CPU, %.1f µs a block, %d MiB RssAnon at most", machine, disk.size>>30,
			p.Sizes.Stored>>20, took, (cpu() - used).Seconds(), took*1e6/float64(disk.size/DefaultBlockSize), peak)
		if machine == "again" {
			figure("backup of blocks that are known", "µs/block", took*1e6/float64(disk.size/DefaultBlockSize))
			figure("backup, RssAnon", "MiB", float64(peak))
		}
	}
}
