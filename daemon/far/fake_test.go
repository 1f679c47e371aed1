package far

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// fake is a daemon with one disk in memory: 64 KiB blocks, of which every third run of five is a hole.
type fake struct {
	data   []byte
	ranges []api.Range
	bad    int64 // offset of a damaged block; negative: none
	block  int
	mapAt  int          // ranges in one answer of the map
	breaks atomic.Int64 // so many answers break off in their middle
	sent   atomic.Int64 // bytes
	asked  atomic.Int64 // requests for content
	maps   atomic.Int64

	mu     sync.Mutex
	fail   error // of everything
	points []api.Point
	lists  int
	said   map[string]bool
	memory map[string]*os.File
}

const aBlock = 64 << 10

func newFake(size int) *fake {
	f := &fake{data: make([]byte, size), bad: -1, block: aBlock, mapAt: 1000, said: map[string]bool{}, memory: map[string]*os.File{}}
	r := rand.NewChaCha8([32]byte{3})
	for off := 0; off < size; off += 15 * aBlock {
		end := min(off+10*aBlock, size)
		r.Read(f.data[off:end])
		f.ranges = append(f.ranges, api.Range{Offset: int64(off), Length: int64(end - off)})
	}
	f.points = []api.Point{f.point("p0000000000000001", 1), f.point("p0000000000000002", 2)}
	return f
}

func (f *fake) point(id string, seq uint64) api.Point {
	return api.Point{ID: id, Machine: "web1", MachineID: "00000000000000aa", Seq: seq, Time: api.At(time.Unix(1700000000+int64(seq), 0)), Disks: []api.Disk{{Name: "vda", Size: int64(len(f.data))}},
		Config: []api.ConfigFile{{Name: "domain.xml", Size: 10}}, LeftOut: []api.LeftOut{{Name: "vdb", Reason: "asked for"}}, Note: "a note"}
}

func (f *fake) failing(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

func (f *fake) note(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said[api.PurposeOf(ctx)] = true
	return f.fail
}

func (f *fake) Points(ctx context.Context, _, _ string) ([]api.Point, error) {
	err := f.note(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	return append([]api.Point{}, f.points...), err
}

func (f *fake) damage(off, length int64) error {
	if f.bad < 0 || off >= f.bad+int64(f.block) || off+length <= f.bad {
		return nil
	}
	return &api.Problem{Status: 500, Exit: 4, Detail: "damaged", Damage: &api.Harm{Machine: "web1", Point: "p0000000000000001", Disk: "vda", Offset: f.bad, Length: int64(f.block)}}
}

// DiskContent answers as a daemon does: the first 64 KiB are looked at before the answer begins.
func (f *fake) DiskContent(ctx context.Context, _, _, _, _ string, off, length int64) (io.ReadCloser, error) {
	f.asked.Add(1)
	if err := f.note(ctx); err != nil {
		return nil, err
	}
	if err := f.damage(off, min(length, 64<<10)); err != nil {
		return nil, err
	}
	end, broken := off+length, false
	if f.bad >= off && f.bad < end {
		end, broken = max(f.bad/aBlock*aBlock, off+min(length, 64<<10)), true
	}
	if f.breaks.Add(-1) >= 0 {
		end, broken = off+(end-off)/2, true
	}
	f.sent.Add(end - off)
	var r io.Reader = bytes.NewReader(f.data[off:end])
	if broken {
		r = io.MultiReader(r, brokenReader{})
	}
	return io.NopCloser(r), nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (f *fake) DiskMap(ctx context.Context, _, _, _, _ string, off int64) (api.DiskRanges, error) {
	f.maps.Add(1)
	m := api.DiskRanges{Size: int64(len(f.data)), BlockSize: f.block, Until: int64(len(f.data))}
	for _, r := range f.ranges {
		if r.Offset+r.Length <= off {
			continue
		}
		if len(m.Ranges) == f.mapAt {
			m.Until = r.Offset
			break
		}
		if r.Offset < off {
			r.Length -= off - r.Offset
			r.Offset = off
		}
		m.Ranges = append(m.Ranges, r)
	}
	return m, f.note(ctx)
}

func (f *fake) ReadConfig(ctx context.Context, _, _, _, _ string) ([]byte, error) {
	return []byte("<domain/>\n"), f.note(ctx)
}

// sharingFake writes into shared memory, too.
type sharingFake struct{ *fake }

func (f sharingFake) ShareMemory(ctx context.Context, m *os.File) (string, func(), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		m.Close()
		return "", nil, f.fail
	}
	name := fmt.Sprint("m", len(f.memory))
	f.memory[name] = m
	return name, func() { f.forget(name) }, nil
}

// forget does away with memory, as a daemon that ends does; "": with all.
func (f *fake) forget(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n, m := range f.memory {
		if m != nil && (name == "" || n == name) {
			m.Close()
			f.memory[n] = nil
		}
	}
}

func (f sharingFake) DiskInto(ctx context.Context, _, _, _, _ string, off, length int64, memory string, at int64) error {
	f.asked.Add(1)
	if err := f.note(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.memory[memory]
	if m == nil {
		return &api.Problem{Status: http.StatusGone, Kind: api.KindNoMemory, Detail: "gone"}
	}
	if err := f.damage(off, length); err != nil {
		return err
	}
	f.sent.Add(length)
	_, err := m.WriteAt(f.data[off:off+length], at)
	return err
}

func open(t *testing.T, d Daemon, o Options) (*Vault, *Disk) {
	t.Helper()
	o.Vault = "v"
	if o.Patience == 0 {
		o.Patience = 60 * time.Millisecond
	}
	v := New(api.WithPurpose(t.Context(), "the test"), d, o)
	t.Cleanup(v.Close)
	p, err := v.Find(t.Context(), api.PointRef{Machine: "web1", Point: "latest"})
	if err != nil {
		t.Fatal(err)
	}
	disk, err := v.Disk(p, "vda")
	if err != nil {
		t.Fatal(err)
	}
	return v, disk
}

func want(t *testing.T, d io.ReaderAt, data []byte, off, n int) {
	t.Helper()
	got := make([]byte, n)
	m, err := d.ReadAt(got, int64(off))
	end := min(off+n, len(data))
	if m != end-off || !bytes.Equal(got[:m], data[off:end]) || err != nil && (err != io.EOF || off+n < len(data)) {
		t.Fatalf("%d bytes at %d: %d, %v", n, off, m, err)
	}
}

var _ Daemon = (*api.Client)(nil)
var _ sharing = (*api.Client)(nil)
