package backup_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/quiesce"
	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

const block = 64 << 10

// host is a VM that keeps its disks in memory and tracks writes as QEMU does.
type host struct {
	mu      sync.Mutex
	facts   backup.Facts
	disks   []*liveDisk
	bitmaps map[string]map[string]map[int64]bool // by name, disk and block
	calls   []string
	guest   quiesce.Guest

	fails map[string]error // by what is called
	reads func()           // called once, while the first disk is read
	watch chan error       // ends the snapshot
	open  int
}

type liveDisk struct {
	backup.VMDisk
	content []byte
}

func newHost(sizes ...int) *host {
	h := &host{
		facts:   backup.Facts{VM: blockstore.VM{UUID: "u1", Name: "web 1", Kind: blockstore.KindQEMU, Host: "9.0.0"}, On: true, Status: "running"},
		bitmaps: map[string]map[string]map[int64]bool{}, fails: map[string]error{}, watch: make(chan error, 1),
	}
	for i, size := range sizes {
		name := "vd" + string(rune('a'+i))
		h.disks = append(h.disks, &liveDisk{backup.VMDisk{Name: name, Source: "/vms/" + name, Format: "raw", Size: int64(size), Bus: "virtio", Chain: []string{"raw:/vms/" + name}},
			bytes.Repeat([]byte(name+" "), size/4+1)[:size]})
	}
	return h
}

// write writes to a disk as a guest does.
func (h *host) write(disk string, off int64, data string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.disk(disk)
	copy(d.content[off:], data)
	for _, b := range h.bitmaps {
		if b[disk] != nil {
			b[disk][off/block] = true
		}
	}
}

func (h *host) disk(name string) *liveDisk {
	for _, d := range h.disks {
		if d.Name == name {
			return d
		}
	}
	return nil
}

func (h *host) call(what string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, what)
	return h.fails[what]
}

func (h *host) Open(context.Context, *blockstore.Protection) (backup.VM, error) {
	if err := h.call("open"); err != nil {
		return nil, err
	}
	h.open++
	return h, nil
}

func (h *host) Close() error                                { h.open--; return nil }
func (h *host) Facts(context.Context) (backup.Facts, error) { return h.facts, h.call("facts") }

func (h *host) Disks(context.Context) ([]backup.VMDisk, error) {
	var all []backup.VMDisk
	for _, d := range h.disks {
		d.Size = int64(len(d.content))
		all = append(all, d.VMDisk)
	}
	return all, h.call("disks")
}

func (h *host) Images(_ context.Context, names []string) (disks []backup.Disk, err error) {
	for _, n := range names {
		disks = append(disks, (&memory{Reader: bytes.NewReader(h.disk(n).content)}).disk(n))
	}
	return disks, h.call("images")
}

func (h *host) Config(context.Context, bool) ([]backup.ConfigFile, []string) {
	return []backup.ConfigFile{{Name: backup.CommandLine, Data: []byte("qemu\n-name\nweb 1\n")}}, nil
}

func (h *host) State(context.Context) ([]backup.ConfigFile, []string) {
	return []backup.ConfigFile{{Name: backup.NVRAM, Data: []byte("variables")}}, []string{"the state of the TPM"}
}

func (h *host) Clean(_ context.Context, vault, keep string) ([]string, error) {
	if err := h.call("clean"); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var removed []string
	for name := range h.bitmaps {
		if name != keep && strings.HasPrefix(name, "hf-"+vault+"-") {
			for disk, marks := range h.bitmaps[name] { // begun by a run that died
				for at := range marks {
					if kept := h.bitmaps[keep]; kept != nil && kept[disk] != nil {
						kept[disk][at] = true
					}
				}
			}
			delete(h.bitmaps, name)
			removed = append(removed, "bitmap "+name)
		}
	}
	return removed, nil
}

func (h *host) Leftovers(context.Context, string, string) ([]string, error) { return nil, nil }
func (h *host) Plan(context.Context, []string, string) ([]backup.DiskPlan, error) {
	return nil, nil
}

func (h *host) Guest(context.Context) (quiesce.Guest, quiesce.Reach, error) {
	if h.guest == nil {
		return nil, quiesce.Reach{}, qga.ErrAbsent
	}
	return h.guest, quiesce.Reach{QGA: "/nonexistent/agent"}, nil
}

func (h *host) Snapshot(ctx context.Context, q backup.SnapshotRequest) (backup.Snapshot, error) {
	if err := h.call("snapshot"); err != nil {
		return nil, err
	}
	s := &hostSnapshot{h: h, q: q}
	err := q.Hold(ctx, func(context.Context) error {
		if err := h.call("transaction"); err != nil {
			return err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		s.time = time.Now()
		h.bitmaps[q.Point] = map[string]map[int64]bool{}
		for _, r := range q.Disks {
			d := h.disk(r.Name)
			src := &frozen{h: h, memory: memory{Reader: bytes.NewReader(slices.Clone(d.content))}}
			got := backup.SnapshotDisk{Source: src, Name: r.Name, Mode: blockstore.ByScan, Reason: r.Scan}
			dirty := h.bitmaps[q.Parent][r.Name]
			switch {
			case r.Scan != "":
			case q.Parent == "" || dirty == nil:
				got.Reason = "the bitmap is gone"
			default:
				got.Mode, src.dirty = blockstore.ByBitmap, dirty
			}
			h.bitmaps[q.Point][r.Name] = map[int64]bool{}
			s.disks = append(s.disks, got)
		}
		return nil
	})
	if err != nil {
		delete(h.bitmaps, q.Point)
		return nil, err
	}
	return s, nil
}

// frozen is a disk of a snapshot.
type frozen struct {
	memory
	h     *host
	dirty map[int64]bool // nil: a scan
}

func (f *frozen) ReadAt(p []byte, off int64) (int, error) {
	f.h.mu.Lock()
	reads := f.h.reads
	f.h.reads = nil
	f.h.mu.Unlock()
	if reads != nil {
		reads()
	}
	if err := f.h.call("read"); err != nil {
		return 0, err
	}
	return f.memory.ReadAt(p, off)
}

func (f *frozen) Extents(ctx context.Context, fn func(blockstore.Extent) error) error {
	for off := int64(0); off < f.Size(); off += block {
		e := blockstore.Extent{Offset: off, Length: min(block, f.Size()-off)}
		if f.dirty != nil && !f.dirty[off/block] {
			e.Kind = blockstore.Same
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return ctx.Err()
}

type hostSnapshot struct {
	h     *host
	q     backup.SnapshotRequest
	time  time.Time
	disks []backup.SnapshotDisk
}

func (s *hostSnapshot) Time() time.Time              { return s.time }
func (s *hostSnapshot) Disks() []backup.SnapshotDisk { return slices.Clone(s.disks) }
func (s *hostSnapshot) Check(context.Context) error  { return s.h.call("check") }

func (s *hostSnapshot) Watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.h.watch:
		return err
	}
}

func (s *hostSnapshot) Release(ctx context.Context, committed bool) error {
	err := s.h.call(fmt.Sprintf("release %v", committed))
	if ctx.Err() != nil {
		return fmt.Errorf("released too late: %w", ctx.Err())
	}
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if committed {
		delete(s.h.bitmaps, s.q.Parent)
		return err
	}
	for disk, marks := range s.h.bitmaps[s.q.Point] { // merged back
		for at := range marks {
			if b := s.h.bitmaps[s.q.Parent]; b != nil && b[disk] != nil {
				b[disk][at] = true
			}
		}
	}
	delete(s.h.bitmaps, s.q.Point)
	return err
}
