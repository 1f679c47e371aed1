package fusefs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// block is the block size of the fake vault.
const block = 64 << 10

// fakeDisk lies in memory. Blocks of zeros are holes.
type fakeDisk struct {
	data []byte
	hole []bool
	bad  atomic.Int64 // offset of a damaged block, negative: none
	who  blockstore.CorruptError
}

func newFakeDisk(data []byte) *fakeDisk {
	d := &fakeDisk{data: data, hole: make([]bool, (len(data)+block-1)/block)}
	zero := make([]byte, block)
	for i := range d.hole {
		b := data[i*block : min((i+1)*block, len(data))]
		d.hole[i] = bytes.Equal(b, zero[:len(b)])
	}
	d.bad.Store(-1)
	return d
}

func (d *fakeDisk) Size() int64 { return int64(len(d.data)) }

func (d *fakeDisk) ReadAt(p []byte, off int64) (int, error) {
	if bad := d.bad.Load(); bad >= 0 && off < bad+block && off+int64(len(p)) > bad {
		e := d.who
		e.Offset, e.Length, e.Err = bad, block, errors.New("its hash is another")
		return int(max(bad-off, 0)), &e
	}
	n := copy(p, d.data[min(off, d.Size()):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (d *fakeDisk) Extents(ctx context.Context, off, length int64, fn func(blockstore.Extent) error) error {
	end := min(off+length, d.Size())
	for off < end {
		e := blockstore.Extent{Offset: off}
		hole := d.hole[off/block]
		if hole {
			e.Kind = blockstore.Zero
		}
		for off < end && d.hole[off/block] == hole {
			off = min((off/block+1)*block, end)
		}
		e.Length = off - e.Offset
		if err := fn(e); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (d *fakeDisk) allocated() (n int64) {
	for _, hole := range d.hole {
		if !hole {
			n += block
		}
	}
	return n
}

// fakeVault is a vault in memory.
type fakeVault struct {
	info blockstore.VaultInfo

	mu     sync.Mutex
	points []*blockstore.Point
	err    error // of Points
	disks  map[string]Disk
	config map[string][]byte
	opened atomic.Int64 // calls of OpenDisk
}

func newFakeVault() *fakeVault {
	return &fakeVault{
		info:   blockstore.VaultInfo{Name: "fake", Created: day, BlockSize: block},
		disks:  map[string]Disk{},
		config: map[string][]byte{},
	}
}

var day = time.Date(2026, 11, 22, 22, 0, 5, 0, time.UTC)

func (v *fakeVault) Info() blockstore.VaultInfo { return v.info }

func (v *fakeVault) Points(context.Context) ([]*blockstore.Point, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]*blockstore.Point(nil), v.points...), v.err
}

func (v *fakeVault) OpenDisk(p *blockstore.Point, disk string) (Disk, error) {
	v.opened.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	if d, ok := v.disks[string(p.ID)+disk]; ok {
		return d, nil
	}
	return nil, fmt.Errorf("disk %s: %w", disk, blockstore.ErrNotFound)
}

func (v *fakeVault) ReadConfig(_ context.Context, p *blockstore.Point, name string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c, ok := v.config[string(p.ID)+name]; ok {
		return c, nil
	}
	return nil, fmt.Errorf("configuration %s: %w", name, blockstore.ErrNotFound)
}

// add makes a point of a machine with one disk, vda, and a configuration.
func (v *fakeVault) add(machine string, at time.Time, d *fakeDisk) *blockstore.Point {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.bare(machine, at)
	sizes := blockstore.Sizes{Logical: d.Size(), Protected: d.allocated()}
	p.Disks = []blockstore.DiskInfo{{Name: "vda", Size: d.Size(), Sizes: sizes}}
	p.Sizes = sizes
	d.who = blockstore.CorruptError{Machine: machine, Point: p.ID, Disk: "vda"}
	v.disks[string(p.ID)+"vda"] = d
	v.config[string(p.ID)+"domain.xml"] = []byte("<domain/>\n")
	p.Config = []blockstore.ConfigBlob{{Name: "domain.xml", Size: 10}}
	return p
}

// bare makes a point without anything in it. v.mu must be held or not needed.
func (v *fakeVault) bare(machine string, at time.Time) *blockstore.Point {
	n := len(v.points) + 1
	p := &blockstore.Point{
		ID: blockstore.PointID(fmt.Sprintf("p%016x", n)), Machine: blockstore.MachineID(fmt.Sprintf("%016x", len(machine))),
		MachineName: machine, Seq: uint64(n), Time: at, Committed: at.Add(time.Minute), Reached: blockstore.Crash,
	}
	v.points = append(v.points, p)
	return p
}

func (v *fakeVault) drop(id blockstore.PointID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var kept []*blockstore.Point
	for _, p := range v.points {
		if p.ID != id {
			kept = append(kept, p)
		}
	}
	v.points = kept
}

// holey makes a disk of size bytes of which every third run of blocks is a hole.
func holey(size int, seed uint64) *fakeDisk {
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	for off := 0; off < size; off += 5 * block {
		r.Read(data[off:min(off+3*block, size)])
	}
	return newFakeDisk(data)
}
