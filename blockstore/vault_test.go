package blockstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"
)

// memory is a source in memory. Extents are those of its zero ranges, so that
// a test has holes.
type memory []byte

func (m memory) Size() int64 { return int64(len(m)) }

func (m memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m).ReadAt(p, off) }

func (m memory) Extents(ctx context.Context, fn func(Extent) error) error {
	const step = 5000 // aligned to nothing
	for at := 0; at < len(m); at += step {
		part := m[at:min(at+step, len(m))]
		e := Extent{Offset: int64(at), Length: int64(len(part))}
		if bytes.Equal(part, zeros[:len(part)]) {
			e.Kind = Zero
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// fill writes n bytes somewhere, half of them compressible.
func fill(r *rand.Rand, disk []byte, n int) {
	at := r.IntN(len(disk))
	part := disk[at:min(at+n, len(disk))]
	word := byte(r.Uint32())
	for i := range part {
		if word&1 == 0 {
			part[i] = byte(r.Uint32())
		} else {
			part[i] = word + byte(i%7)
		}
	}
}

func newVault(t testing.TB, blockSize int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "vault")
	if _, err := Create(t.Context(), dir, CreateOptions{BlockSize: blockSize}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func ownVault(t testing.TB, dir string, o OwnOptions) *Owner {
	t.Helper()
	o.MinFree = -1
	if o.Warn == nil {
		o.Warn = func(s string) { t.Log("warning: " + s) }
	}
	w, err := Own(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func backUp(t testing.TB, o *Owner, machine string, disks map[string]Source) *Point {
	t.Helper()
	b, err := o.Begin(t.Context(), BackupOptions{Machine: machine, Time: time.Now(), Asked: Crash, Reached: Crash})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	for name, src := range disks {
		if err := b.AddDisk(t.Context(), DiskInfo{Name: name, Format: "raw"}, src, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.AddConfig("domain.xml", []byte("<domain>"+machine+"</domain>")); err != nil {
		t.Fatal(err)
	}
	p, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func readDisk(t testing.TB, v *Vault, p *Point, name string) []byte {
	t.Helper()
	d, err := v.OpenDisk(p, name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(d, 0, d.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustCheck(t testing.TB, v *Vault) *CheckReport {
	t.Helper()
	r, err := v.Check(t.Context(), CheckOptions{Data: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Faults {
		t.Errorf("fault: %+v", f)
	}
	return r
}

func TestEveryPointKeepsWhatItsDisksHeldWhateverHappensLater(t *testing.T) {
	for _, blockSize := range []int{16 << 10, 64 << 10, 1 << 20} {
		t.Run(fmt.Sprint(blockSize), func(t *testing.T) {
			t.Parallel()
			keepPoints(t, blockSize)
		})
	}
}

func keepPoints(t *testing.T, blockSize int) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	dir := newVault(t, blockSize)
	disk := make([]byte, 3<<20+r.IntN(1<<20))
	want := map[PointID][]byte{}
	o := ownVault(t, dir, OwnOptions{Paranoid: true})
	for round := range 12 {
		for range r.IntN(4) {
			fill(r, disk, 1+r.IntN(300<<10))
		}
		switch r.IntN(5) {
		case 0: // grows
			disk = append(disk, make([]byte, r.IntN(500<<10))...)
		case 1: // shrinks
			disk = disk[:len(disk)-r.IntN(100<<10)]
		case 2: // is trimmed
			clear(disk[r.IntN(len(disk)):])
		case 3: // another process takes over
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			o = ownVault(t, dir, OwnOptions{})
		}
		p := backUp(t, o, "web1", map[string]Source{"vda": memory(bytes.Clone(disk))})
		want[p.ID] = bytes.Clone(disk)
		if p.Seq != uint64(round+1) {
			t.Fatalf("point %d has sequence number %d", round+1, p.Seq)
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	points, err := v.Points(t.Context())
	if err != nil || len(points) != len(want) {
		t.Fatalf("%d points, %v; want %d", len(points), err, len(want))
	}
	for i, p := range points {
		if !bytes.Equal(readDisk(t, v, p, "vda"), want[p.ID]) {
			t.Errorf("point %s differs from what was backed up", p.ID)
		}
		if i > 0 {
			compareDiff(t, v, points[i-1], p, want)
		}
		checkSizes(t, p, want[p.ID], blockSize)
	}
	mustCheck(t, v)
}

// compareDiff compares Diff with a comparison of the contents.
func compareDiff(t *testing.T, v *Vault, p, q *Point, want map[PointID][]byte) {
	t.Helper()
	a, err := v.OpenDisk(p, "vda")
	if err != nil {
		t.Fatal(err)
	}
	b, err := v.OpenDisk(q, "vda")
	if err != nil {
		t.Fatal(err)
	}
	bs := v.Info().BlockSize
	size := max(len(want[p.ID]), len(want[q.ID]))
	differ := make([]bool, (size+bs-1)/bs)
	if err := Diff(t.Context(), a, b, func(off, n int64) error {
		for i := off / int64(bs); i*int64(bs) < off+n; i++ {
			differ[i] = true
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	block := func(b []byte, i int) []byte {
		out := make([]byte, bs)
		if i*bs < len(b) {
			copy(out, b[i*bs:])
		}
		return out
	}
	for i := range differ {
		if same := bytes.Equal(block(want[p.ID], i), block(want[q.ID], i)); same == differ[i] {
			t.Errorf("diff of %s and %s says %v of block %d", p.ID, q.ID, differ[i], i)
		}
		at, n := int64(i*bs), int64(1)
		same, err := SameIn(t.Context(), a, b, at, n)
		if want := !differ[i] && at < min(a.Size(), b.Size()); same != want || err != nil {
			t.Errorf("block %d of %s and %s is the same: %v, %v", i, p.ID, q.ID, same, err)
		}
	}
}

func checkSizes(t *testing.T, p *Point, disk []byte, blockSize int) {
	t.Helper()
	var protected int64
	for at := 0; at < len(disk); at += blockSize {
		part := disk[at:min(at+blockSize, len(disk))]
		if !bytes.Equal(part, zeros[:len(part)]) {
			protected += int64(len(part))
		}
	}
	if p.Sizes.Protected != protected || p.Sizes.Logical != int64(len(disk)) {
		t.Errorf("point %s says %+v; protected are %d of %d bytes", p.ID, p.Sizes, protected, len(disk))
	}
}
