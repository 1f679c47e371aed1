package backup_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/backup"
)

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
