package backup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/quiesce"
	"github.com/holdfast-backup/holdfast/quiesce/qga"
	"github.com/holdfast-backup/holdfast/quiesce/qmp"
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

// plant is a vault with a protected machine on a host.
type plant struct {
	t *testing.T
	*host
	o *blockstore.Owner
	q backup.MachineRequest
}

func newPlant(t *testing.T, h *host) *plant {
	t.Helper()
	p := &plant{t: t, host: h, o: own(t)}
	p.q = backup.MachineRequest{Tool: "test", Open: h.Open, Retries: []time.Duration{}}
	p.protect(func(*blockstore.Protection) {})
	return p
}

func (p *plant) protect(change func(*blockstore.Protection)) {
	p.t.Helper()
	record := blockstore.Protection{VM: p.facts.VM, QEMU: &blockstore.QEMUVM{QMP: "/run/qmp"}, Consistency: blockstore.Crash}
	change(&record)
	var err error
	if p.q.Machine, err = p.o.Protect(p.t.Context(), "web-1", record); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plant) run() (*backup.Result, error) {
	p.calls = nil
	return backup.RunMachine(p.t.Context(), p.o, p.q)
}

// good makes a point and fails the test unless it holds what the disks held.
func (p *plant) good() *backup.Result {
	p.t.Helper()
	want := map[string][]byte{}
	for _, d := range p.disks {
		want[d.Name] = slices.Clone(d.content)
	}
	r, err := p.run()
	if err != nil {
		p.t.Fatal(err)
	}
	if p.open != 0 || p.calls[len(p.calls)-1] != "release true" && p.facts.On && !slices.Contains(p.calls, "release true") {
		p.t.Errorf("after the point %d are open; calls %v", p.open, p.calls)
	}
	for _, info := range r.Point.Disks {
		d, err := p.o.OpenDisk(r.Point, info.Name)
		if err != nil {
			p.t.Fatal(err)
		}
		got := make([]byte, info.Size)
		if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, want[info.Name]) {
			p.t.Errorf("disk %s of the point differs from what it held: %v", info.Name, err)
		}
	}
	if r.Point.VM != nil && p.facts.On && len(p.bitmaps) != 1 {
		p.t.Errorf("bitmaps are left: %v", p.bitmaps)
	}
	return r
}

func modes(r *backup.Result) (all []string) {
	for _, d := range r.Point.Disks {
		all = append(all, fmt.Sprintf("%s %s %s", d.Name, d.Mode, d.Reason))
	}
	return all
}

func TestAnIncrementalPointReadsWhatChangedAndASample(t *testing.T) {
	t.Parallel()
	p := newPlant(t, newHost(200*block+512, 64*block))
	first := p.good()
	if got := fmt.Sprint(modes(first)); got != "[vda scan the first point of the machine vdb scan the first point of the machine]" {
		t.Error(got)
	}
	p.write("vda", 7*block, "changed")
	p.write("vda", 200*block, "the end")
	second := p.good()
	if got := fmt.Sprint(modes(second)); got != "[vda bitmap  vdb bitmap ]" {
		t.Error(got)
	}
	s := second.Point.Sizes
	if s.Read != block+512 || s.Changed != block+512 || second.Point.Parent != first.Point.ID || s.Protected != first.Point.Sizes.Protected {
		t.Errorf("sizes %+v after %+v", s, first.Point.Sizes)
	}
	reads := 0
	for _, c := range p.calls {
		if c == "read" {
			reads++
		}
	}
	if ends := 8 + 7; reads < 2*backup.UsualSamples+2 || reads > 2*backup.UsualSamples+2+ends {
		t.Errorf("%d reads of changes and samples", reads)
	}
	v := second.Point.VM
	if v == nil || v.Name != "web 1" || v.UUID != "u1" || v.Host != "9.0.0" || second.Point.Quiesced == nil || second.Point.Reason != "" {
		t.Errorf("the point is of VM %+v, %+v, %q", v, second.Point.Quiesced, second.Point.Reason)
	}
	p.protect(func(r *blockstore.Protection) { r.Samples = -1 })
	if third := p.good(); third.Point.Sizes.Read != 0 || slices.Contains(p.calls, "read") {
		t.Errorf("without samples %d bytes were read", third.Point.Sizes.Read)
	}
}

func TestAPointKeepsWhatItTakesToMakeTheMachineAgain(t *testing.T) {
	t.Parallel()
	h := newHost(block, block, 0)
	h.disks[2].LeftOut = "an empty drive"
	p := newPlant(t, h)
	p.protect(func(r *blockstore.Protection) { r.Exclude = []string{"vdb", "vdx"} })
	r := p.good()
	if len(r.Point.Disks) != 1 || fmt.Sprint(r.Point.LeftOut) != "[{vdb 65536 excluded when the machine was protected} {vdc 0 an empty drive}]" {
		t.Errorf("disks %v, left out %v", modes(r), r.Point.LeftOut)
	}
	said := strings.Join(r.Warnings, "\n")
	if !strings.Contains(said, "vdx") || !strings.Contains(said, "TPM") {
		t.Errorf("warnings %q", r.Warnings)
	}
	read := func(name string) string {
		b, err := p.o.ReadConfig(t.Context(), r.Point, name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if read(backup.CommandLine) != "qemu\n-name\nweb 1\n" || read(backup.NVRAM) != "variables" {
		t.Error("command line or NVRAM differ")
	}
	var m backup.MachineFile
	if err := json.Unmarshal([]byte(read(backup.MachineJSON)), &m); err != nil {
		t.Fatal(err)
	}
	if m.Version != 1 || m.Machine.Name != "web-1" || m.State != "running" || len(m.Disks) != 3 || m.Disks[1].LeftOut != backup.Excluded || m.Disks[0].Source != "/vms/vda" || len(m.Missing) != 1 {
		t.Errorf("machine.json is %+v", m)
	}
}

func TestWhateverIsInDoubtIsReadWhole(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*host)
		want   string
	}{
		"resized":        {func(h *host) { h.disks[0].content = append(h.disks[0].content, make([]byte, block)...) }, "the disk was resized, from 524288 to 589824 bytes"},
		"moved":          {func(h *host) { h.disks[0].Source = "/elsewhere/vda" }, "the disk lay in /vms/vda before"},
		"chain":          {func(h *host) { h.disks[0].Chain = []string{"qcow2:/vms/snap", "raw:/vms/vda"} }, "the chain of images changed since the point before"},
		"bitmap gone":    {func(h *host) { clear(h.bitmaps) }, "the bitmap is gone"},
		"another serial": {func(h *host) { h.disks[0].Serial = "S9" }, ""}, // its source is the same
		"renamed": {func(h *host) {
			h.disks[0].Name = "vdz"
			for _, b := range h.bitmaps {
				b["vdz"] = b["vda"]
			}
		}, ""},
		"replaced": {func(h *host) { h.disks[0].Name, h.disks[0].Source = "vdn", "/vms/new" }, "the disk is new"},
		"two of a kind": {func(h *host) {
			h.disks = append(h.disks, &liveDisk{backup.VMDisk{Name: "vdb", Source: "/vms/vda", Chain: []string{"raw:/vms/vda"}}, make([]byte, 8*block)})
		}, "several disks could be disk vda of the point before"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlant(t, newHost(8*block))
			p.good()
			p.write("vda", block, "changed")
			test.change(p.host)
			r := p.good()
			if d := r.Point.Disks[0]; d.Reason != test.want || (d.Mode == blockstore.ByScan) != (test.want != "") || len(r.Warnings) != 1 {
				t.Errorf("read by %s: %q, want %q; warnings %q", d.Mode, d.Reason, test.want, r.Warnings)
			}
			p.good()
		})
	}
}

func TestABitmapThatLiesIsFoundOutAndNotBelieved(t *testing.T) {
	t.Parallel()
	p := newPlant(t, newHost(64*block, 8*block))
	p.good()
	for i := range 64 { // written past QEMU
		p.disk("vda").content[i*block+5] = 'X'
	}
	r := p.good() // compares all bytes
	if len(r.Warnings) != 2 || !strings.Contains(strings.Join(r.Warnings, ""), "its bitmap calls it clean") {
		t.Errorf("warnings %q", r.Warnings)
	}
	for _, d := range r.Point.Disks {
		if d.Mode != blockstore.ByScan || !strings.Contains(d.Reason, "not believed") {
			t.Errorf("disk %s was read by %s, %q", d.Name, d.Mode, d.Reason)
		}
	}
	if got := fmt.Sprint(modes(p.good())); got != "[vda bitmap  vdb bitmap ]" {
		t.Error(got)
	}
}

func TestAnExclusionDoesNotMoveOnToAnotherDisk(t *testing.T) {
	t.Parallel()
	p := newPlant(t, newHost(block, 2*block, 3*block))
	exclude := func() {
		p.protect(func(r *blockstore.Protection) {
			r.Exclude = []string{"vdb"}
			var err error
			if r.ExcludedAt, err = backup.WhereExcluded(t.Context(), p.host, r.Exclude); err != nil {
				t.Fatal(err)
			}
		})
	}
	exclude()
	p.good()
	p.disks = p.disks[1:] // the first one was taken out, and all names moved
	p.disks[0].Name, p.disks[1].Name = "vda", "vdb"
	for _, held := range []string{"vdc", "vdb"} {
		r := p.good()
		if got := fmt.Sprint(modes(r)); !strings.Contains(got, "vdb") || len(r.Point.LeftOut) != 0 {
			t.Errorf("disks %s, left out %v", got, r.Point.LeftOut)
		}
		if said := strings.Join(r.Warnings, "\n"); !strings.Contains(said, "the point before held it as "+held) {
			t.Errorf("warnings %q", r.Warnings)
		}
	}
	exclude() // so it is meant
	if r := p.good(); len(r.Point.LeftOut) != 1 || len(r.Warnings) != 1 {
		t.Errorf("left out %v, warnings %q", r.Point.LeftOut, r.Warnings)
	}
}

func TestADiskThatWasMadeSmallerAndLargeAgainIsFoundOut(t *testing.T) {
	t.Parallel()
	for _, lost := range []int{1, 2, 5, 100, 1000} { // blocks at the end, which read as zeros then
		p := newPlant(t, newHost(1024*block-512))
		p.protect(func(r *blockstore.Protection) { r.Samples = 1 })
		p.good()
		clear(p.disk("vda").content[(1024-lost)*block:])
		if r := p.good(); r.Point.Disks[0].Mode != blockstore.ByScan { // compares all bytes, too
			t.Errorf("%d blocks were lost: %v", lost, modes(r))
		}
	}
}

func TestABitmapThatWasFoundOutIsNotBelievedAfterAFailureEither(t *testing.T) {
	t.Parallel()
	p := newPlant(t, newHost(64*block))
	p.good()
	for i := range 64 {
		p.disk("vda").content[i*block+5] = 'X'
	}
	p.fails["check"] = errors.New("the snapshot was lost")
	if r, err := p.run(); err == nil {
		t.Fatalf("made a point of a lost snapshot: %v", modes(r))
	}
	delete(p.fails, "check")
	p.protect(func(r *blockstore.Protection) { r.Samples = -1 }) // as when the sample misses it
	p.good()                                                     // compares all bytes
}

func TestAFailureInAnyPhaseLeavesNothingAndLosesNoChange(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, phase := range []string{"open", "facts", "disks", "clean", "snapshot", "transaction", "read", "check", "watch", "cancel"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			p := newPlant(t, newHost(32*block))
			first := p.good()
			p.write("vda", 3*block, "before the failure")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			want := broken
			switch phase {
			case "watch":
				p.reads = func() {
					p.watch <- broken
					p.fails["check"] = broken
					p.fails["read"] = errors.New("the snapshot is gone")
				}
			case "cancel":
				p.reads, want = cancel, context.Canceled
			default:
				p.fails[phase] = broken
			}
			p.calls = nil
			_, err := backup.RunMachine(ctx, p.o, p.q)
			if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "back up web-1: ") {
				t.Errorf("ended with %v", err)
			}
			began := slices.Contains(p.calls, "transaction") && phase != "transaction"
			if began != slices.Contains(p.calls, "release false") || slices.Contains(p.calls, "release true") || p.open != 0 || len(p.bitmaps) != 1 {
				t.Errorf("calls %v; %d open; bitmaps %v", p.calls, p.open, p.bitmaps)
			}
			points(t, p.o, 1)
			clear(p.fails)
			p.reads, p.watch = nil, make(chan error, 1)
			p.write("vda", 9*block, "after it")
			r := p.good()
			if r.Point.Sizes.Read != 2*block || r.Point.Parent != first.Point.ID {
				t.Errorf("the next run read %d bytes, %v", r.Point.Sizes.Read, modes(r))
			}
		})
	}
}

func TestWhatWasWrittenWhileAFailedRunReadIsInTheNextPoint(t *testing.T) {
	t.Parallel()
	p := newPlant(t, newHost(32*block))
	p.good()
	p.reads = func() { p.write("vda", 20*block, "meanwhile"); p.fails["read"] = errors.New("broken") }
	if _, err := p.run(); err == nil {
		t.Fatal("did not fail")
	}
	clear(p.fails)
	if r := p.good(); r.Point.Sizes.Read != block {
		t.Errorf("the next run read %d bytes", r.Point.Sizes.Read)
	}
}

func TestWhatMayPassIsTriedAgainAndSaid(t *testing.T) {
	t.Parallel()
	p := newPlant(t, newHost(4*block))
	p.q.Retries = []time.Duration{0, 0}
	p.q.Open = func(ctx context.Context, r *blockstore.Protection) (backup.VM, error) {
		p.fails["open"] = nil
		if len(p.calls) < 2 {
			p.fails["open"] = fmt.Errorf("connect: %w", qmp.ErrBusy)
		}
		return p.host.Open(ctx, r)
	}
	r := p.good()
	if len(r.Warnings) != 3 || !strings.HasPrefix(r.Warnings[1], "attempt 2 failed") {
		t.Errorf("warnings %q", r.Warnings)
	}
	p.q.Open = func(context.Context, *blockstore.Protection) (backup.VM, error) {
		p.call("open")
		return nil, qmp.ErrBusy
	}
	if _, err := p.run(); !errors.Is(err, qmp.ErrBusy) || len(p.calls) != 3 {
		t.Errorf("%v after %v", err, p.calls)
	}
	p.q.Open = func(context.Context, *blockstore.Protection) (backup.VM, error) {
		p.call("open")
		return nil, errors.New("no")
	}
	if _, err := p.run(); err == nil || len(p.calls) != 1 {
		t.Errorf("what will not pass: %v after %v", err, p.calls)
	}
}

func TestAnotherVMUnderAnOldNameIsRefused(t *testing.T) {
	t.Parallel()
	p := newPlant(t, newHost(block))
	p.good()
	p.facts.VM.Name = "renamed"
	if r := p.good(); !strings.Contains(strings.Join(r.Notes, ""), `was called "web 1"`) || r.Point.VM.Name != "renamed" {
		t.Errorf("notes %q", r.Notes)
	}
	m, err := p.o.Machine(t.Context(), "web-1")
	if err != nil || m.Protected.VM.Name != "renamed" {
		t.Errorf("remembered as %+v, %v", m.Protected, err)
	}
	p.facts.VM.UUID = "u2"
	var other *backup.IdentityError
	if _, err := p.run(); !errors.As(err, &other) || !strings.Contains(err.Error(), "u1") || !strings.Contains(err.Error(), "u2") {
		t.Errorf("another VM: %v", err)
	}
	points(t, p.o, 2)
}

func TestAMachineThatIsHeldOrNotProtectedIsNotTouched(t *testing.T) {
	t.Parallel()
	p := newPlant(t, newHost(block))
	if err := p.o.HoldMachine("", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.run(); !errors.Is(err, blockstore.ErrMachineHeld) || len(p.calls) != 0 {
		t.Errorf("%v after %v", err, p.calls)
	}
	p.q.Machine.Protected = nil
	if _, err := p.run(); !errors.Is(err, backup.ErrNotProtected) {
		t.Errorf("not protected: %v", err)
	}
}

func TestASnapshotThatStaysBehindIsAWarningOnceItsPointIsSafe(t *testing.T) {
	t.Parallel()
	p := newPlant(t, newHost(block))
	p.fails["release true"] = errors.New("QEMU does not answer")
	r := p.good()
	if !strings.Contains(strings.Join(r.Warnings, ""), "doctor web-1 --clean") {
		t.Errorf("warnings %q", r.Warnings)
	}
	points(t, p.o, 1)
}

func TestAVMThatIsOffIsReadFromItsImages(t *testing.T) {
	t.Parallel()
	p := newPlant(t, newHost(4*block))
	p.good()
	p.facts.On, p.facts.Status = false, "shut off"
	p.write("vda", 0, "while nobody tracked")
	r := p.good()
	if r.Point.Reached != blockstore.Crash || r.Point.Quiesced != nil || r.Point.Disks[0].Bus != "virtio" || slices.Contains(p.calls, "snapshot") {
		t.Errorf("the point is %+v", r.Point)
	}
	p.facts.Clean = true
	if r := p.good(); r.Point.Reached != blockstore.Application {
		t.Errorf("a VM that shut itself down: %s (%s)", r.Point.Reached, r.Point.Reason)
	}
	p.facts.On = true
	if r := p.good(); r.Point.Disks[0].Reason != "the machine was off when the point before was made" {
		t.Errorf("on again: %v", modes(r))
	}
	p.facts.On, p.facts.Clean = false, false
	p.protect(func(r *blockstore.Protection) { r.Consistency = blockstore.Filesystem })
	var not *quiesce.NotReachedError
	if _, err := p.run(); !errors.As(err, &not) {
		t.Errorf("a consistency that nobody can promise: %v", err)
	}
}

func TestADiskThatCannotBeReadWhileTheVMIsOffIsNotPassedOverInSilence(t *testing.T) {
	t.Parallel()
	p := newPlant(t, newHost(block))
	image := filepath.Join(t.TempDir(), "vda.raw")
	if err := os.WriteFile(image, p.disk("vda").content, 0o600); err != nil {
		t.Fatal(err)
	}
	images := []blockstore.ImageDisk{
		{Name: "vda", Path: image, Format: "raw"},
		{Name: "vdb", Path: "nbd://other/vdb", Format: "raw", Unreadable: "it is no file of this host"},
		{Name: "vdc", Path: image, Format: "raw", Shareable: true},
	}
	protect := func(exclude ...string) {
		p.protect(func(r *blockstore.Protection) {
			r.QEMU.QMP, r.Images, r.Exclude = filepath.Join(t.TempDir(), "qmp"), images, exclude
		})
	}
	p.q.Open = backup.Reaching{}.Open
	protect()
	r, err := p.run()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Point.Disks) != 1 || len(r.Point.LeftOut) != 2 || !strings.Contains(r.Point.LeftOut[0].Reason, "while the VM is off") ||
		!strings.Contains(r.Point.LeftOut[1].Reason, "shareable") {
		t.Errorf("disks %v, left out %v", modes(r), r.Point.LeftOut)
	}
	if said := strings.Join(r.Warnings, "\n"); !strings.Contains(said, "disk vdb (nbd://other/vdb) is not in the point") || len(r.Warnings) != 1 {
		t.Errorf("warnings %q", r.Warnings)
	}
	protect("vdb")
	if r, err = p.run(); err != nil || len(r.Warnings) != 0 {
		t.Errorf("one that is excluded: %v, warnings %q", err, r.Warnings)
	}
}

func TestWhatIsOursIsTakenOutOfAVMThatIsOff(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
	path := filepath.Join(t.TempDir(), "vda.qcow2")
	for _, args := range [][]string{{"create", "-q", "-f", "qcow2", path, "1M"}, {"bitmap", "--add", path, "hf-v1-p1"}, {"bitmap", "--add", path, "hf-v2-p1"}} {
		if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", args, out)
		}
	}
	vm, err := backup.Reaching{}.Open(t.Context(), &blockstore.Protection{QEMU: &blockstore.QEMUVM{QMP: filepath.Join(t.TempDir(), "qmp")},
		Images: []blockstore.ImageDisk{{Name: "vda", Path: path, Format: "qcow2"}, {Name: "vdb", Path: "nbd://x", Format: "qcow2", Unreadable: "far away"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	removed, err := backup.TakeOut(t.Context(), vm, "v1")
	if err != nil || len(removed) != 1 || !strings.Contains(removed[0], "hf-v1-p1 in "+path) {
		t.Errorf("removed %q: %v", removed, err)
	}
	if out, _ := exec.Command("qemu-img", "info", path).Output(); !strings.Contains(string(out), "hf-v2-p1") {
		t.Errorf("what is another vault's is gone: %s", out)
	}
}
