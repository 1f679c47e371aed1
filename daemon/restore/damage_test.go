package restore

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// damagedDisk has all its blocks, and cannot read some of them.
func damagedDisk(bad ...int64) *fakeDisk {
	d, rng := newDisk("vda", 5<<20+100, 65536), rand.New(rand.NewPCG(3, 3))
	for n := range ceil(d.size, d.block) {
		d.put(n, rng)
	}
	for _, n := range bad {
		d.bad[n] = true
	}
	return d
}

func TestADamagedBlockStopsTheRestoreWithItsAddress(t *testing.T) {
	t.Parallel()
	d, folder := damagedDisk(33), t.TempDir()
	_, err := Run(t.Context(), toFile(d, Raw, filepath.Join(folder, "x")), Options{})
	var damage *blockstore.CorruptError
	if !errors.As(err, &damage) || damage.Offset != 33*65536 || !strings.Contains(err.Error(), "offset 2162688") {
		t.Errorf("error is %v", err)
	}
	wantNames(t, folder)
}

func TestSkippedDamageBecomesZerosAndIsListed(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img")
	d := damagedDisk(0, 1, 15, 16, 17, 40, 80) // across a window; the last one is short
	want := []span{{0, 2 * 65536}, {15 * 65536, 18 * 65536}, {40 * 65536, 41 * 65536}, {80 * 65536, d.size}}
	folder := t.TempDir()
	raw, qcow2, out := filepath.Join(folder, "raw"), filepath.Join(folder, "qcow2"), new(bytes.Buffer)
	jobs := []Job{{d, Spec{Kind: Raw, Path: raw}}, {d, Spec{Kind: Qcow2, Path: qcow2}}, {d, Spec{Kind: Stream, Writer: out}}}
	res, err := Run(t.Context(), jobs, Options{SkipDamaged: true, Verify: true})
	if err != nil || !res.damaged() {
		t.Fatal(err, res)
	}
	for _, r := range res.Disks {
		if got := spans(r.Damaged); !slices.Equal(got, want) {
			t.Errorf("%s: damaged are %v, want %v", r.Kind, got, want)
		}
		if len(r.Uncompared) != 0 || r.Damaged[0].Cause == nil {
			t.Errorf("%s: result is %+v", r.Kind, r)
		}
	}
	sameFile(t, raw, d.bytes())
	if !bytes.Equal(out.Bytes(), d.bytes()) {
		t.Error("the stream differs")
	}
	checkQcow2(t, qcow2)
	command(t, "qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, qcow2)
}

func spans(ranges []Range) []span {
	var list []span
	for _, r := range ranges {
		list = append(list, span{r.Offset, r.end()})
	}
	return list
}

func TestADamagedMapIsSkippedAsFarAsItReaches(t *testing.T) {
	t.Parallel()
	for _, bad := range []Range{{Offset: 1 << 20, Length: 1 << 20}, {Offset: 0, Length: 65536}, {Offset: 4 << 20, Length: 4 << 20}} {
		d, folder := damagedDisk(), t.TempDir()
		d.badMap = []Range{bad}
		file := filepath.Join(folder, "x")
		var damage *blockstore.CorruptError
		if _, err := Run(t.Context(), toFile(d, Raw, file), Options{}); !errors.As(err, &damage) {
			t.Errorf("error is %v", err)
		}
		wantNames(t, folder)
		res, err := Run(t.Context(), toFile(d, Raw, file), Options{SkipDamaged: true, Verify: true})
		if err != nil {
			t.Fatal(err)
		}
		end := min(bad.end(), d.size)
		want := d.bytes()
		clear(want[bad.Offset:end])
		sameFile(t, file, want)
		if got := spans(res.Disks[0].Damaged); !slices.Equal(got, []span{{bad.Offset, end}}) {
			t.Errorf("damaged are %v", got)
		}
	}
}

func TestABlockThatFailsOnlyWhenVerifyingIsSaidToBeUncompared(t *testing.T) {
	t.Parallel()
	d := damagedDisk(7)
	file := filepath.Join(t.TempDir(), "x")
	whole := damagedDisk()
	delete(whole.blocks, 7)
	var lost atomic.Bool
	r := newRun([]Job{{&flaky{d, &lost, 9}, Spec{Path: file}}}, Options{SkipDamaged: true, Verify: true})
	r.open = func(_ context.Context, tk *task, o Options) (Target, error) {
		f, err := createRaw(file, d.size, fileOptions{mode: 0o600})
		return &synced{f, func() { lost.Store(true) }}, err
	}
	res, err := r.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := spans(res.Disks[0].Uncompared); !slices.Equal(got, []span{{9 * 65536, 10 * 65536}}) {
		t.Errorf("uncompared are %v", got)
	}
	if got := spans(res.Disks[0].Damaged); !slices.Equal(got, []span{{7 * 65536, 8 * 65536}}) {
		t.Errorf("damaged are %v", got)
	}
	sameFile(t, file, whole.bytes())
}

// flaky loses one more block when lost is set.
type flaky struct {
	*fakeDisk
	lost  *atomic.Bool
	block int64
}

func (f *flaky) ReadAt(p []byte, off int64) (int, error) {
	if at := f.block * f.fakeDisk.block; f.lost.Load() && off < at+f.fakeDisk.block && off+int64(len(p)) > at {
		return 0, f.corrupt(at, f.fakeDisk.block)
	}
	return f.fakeDisk.ReadAt(p, off)
}

// synced tells when a file has been synced.
type synced struct {
	*rawFile
	then func()
}

func (s *synced) Sync() error {
	defer s.then()
	return s.rawFile.Sync()
}

func TestRangesMergeWhateverTheirOrder(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(11, 11))
	for range 300 {
		var set rangeSet
		var model [64]bool
		for range rng.IntN(20) {
			off, n := rng.Int64N(60), rng.Int64N(5)
			n = min(n, 64-off)
			set.add(Range{Offset: off, Length: n})
			for i := off; i < off+n; i++ {
				model[i] = true
			}
		}
		if got, want := spans(set.list()), runs(model[:]); !slices.Equal(got, want) {
			t.Fatalf("ranges are %v, want %v", got, want)
		}
		var left [64]bool
		from, to := rng.Int64N(32), 32+rng.Int64N(32)
		for i := from; i < to; i++ {
			left[i] = !model[i]
		}
		got := spans(without([]Range{{Offset: from, Length: to - from}}, &set))
		if want := runs(left[:]); !slices.Equal(got, want) {
			t.Fatalf("%d-%d without %v is %v, want %v", from, to, spans(set.list()), got, want)
		}
	}
}

func runs(model []bool) []span {
	var list []span
	for i, b := range model {
		if !b {
			continue
		}
		if n := len(list); n > 0 && list[n-1].end == int64(i) {
			list[n-1].end++
		} else {
			list = append(list, span{int64(i), int64(i) + 1})
		}
	}
	return list
}

// damaged tells whether any disk has ranges that could not be read.
func (r Result) damaged() bool {
	for _, d := range r.Disks {
		if len(d.Damaged) > 0 {
			return true
		}
	}
	return false
}
