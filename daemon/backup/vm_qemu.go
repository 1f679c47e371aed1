package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce"
	"github.com/holdfast-backup/holdfast/quiesce/procs"
	"github.com/holdfast-backup/holdfast/quiesce/qemu"
	"github.com/holdfast-backup/holdfast/quiesce/qga"
	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

// qemuVM is a QEMU process that is reached by its own sockets.
type qemuVM struct {
	client  *qmp.Client
	machine *qemu.Machine
	at      blockstore.QEMUVM
	scratch Scratch

	vm      qemu.VM
	process procs.Process // what its command line tells; PID is 0 where that cannot be read
}

// Scratch says where what a guest overwrites during a backup is kept. The zero value
// is what is usual.
type Scratch struct {
	Folder   string // "": /var/lib/libvirt/qemu/holdfast
	Cap      int64  // bytes that all runs together may use; 0: no cap
	LowWater int64  // bytes that stay free there; 0: the usual share
}

// openQEMU connects to a monitor.
func openQEMU(ctx context.Context, at blockstore.QEMUVM, scratch Scratch) (_ *qemuVM, err error) {
	q := &qemuVM{at: at, scratch: scratch}
	if q.client, err = qmp.Dial(ctx, at.QMP); err != nil {
		return nil, err
	}
	q.machine, err = qemu.Open(ctx, q.client, qemu.Options{})
	if err == nil {
		q.vm, err = q.machine.VM(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, q.client.Close())
	}
	if p, err := procs.Get(q.vm.PID); err == nil {
		q.process = p
	}
	return q, nil
}

// Close is part of VM.
func (q *qemuVM) Close() error { return q.client.Close() }

// Facts is part of VM.
func (q *qemuVM) Facts(context.Context) (Facts, error) {
	f := Facts{VM: blockstore.VM{UUID: q.vm.UUID, Name: q.vm.Name, Kind: blockstore.KindQEMU, Host: q.vm.Version.String()}, On: true, Status: q.vm.Status}
	for _, a := range q.vm.Agents {
		f.Agent = f.Agent || a.Open
	}
	return f, nil
}

// Disks is part of VM.
func (q *qemuVM) Disks(ctx context.Context) ([]VMDisk, error) {
	disks, err := q.machine.Disks(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]VMDisk, 0, len(disks))
	for i := range disks {
		all = append(all, q.disk(&disks[i]))
	}
	return all, nil
}

// path makes the name of a file whole, which QEMU gives as it was given it.
func (q *qemuVM) path(name string) string {
	if name == "" || filepath.IsAbs(name) || q.process.Folder == "" {
		return name
	}
	whole := filepath.Join(q.process.Folder, name)
	if _, err := os.Stat(whole); err == nil {
		return whole
	}
	if open, ok := procs.OpenFile(q.process.PID, name); ok {
		return open // QEMU has left the folder that it was started in, as -daemonize has it
	}
	return name // an address
}

func (q *qemuVM) disk(d *qemu.Disk) VMDisk {
	v := VMDisk{
		Name: d.Name, Source: q.path(d.Filename), Format: d.Format, Size: d.Size, Logical: d.Logical, Physical: d.Physical,
		Serial: d.Serial, Bus: d.Bus, Shareable: d.Shareable, LeftOut: d.LeftOut, Impossible: d.Impossible,
	}
	if d.BootIndex >= 0 {
		v.BootOrder = d.BootIndex + 1
	}
	for i, l := range d.Chain {
		text := l.Driver + ":" + q.path(l.Filename)
		if i > 0 {
			text += fmt.Sprintf(" (%d bytes)", l.Size)
		}
		v.Chain = append(v.Chain, text)
	}
	return v
}

// Images is part of VM: this one is on.
func (q *qemuVM) Images(context.Context, []string) ([]Disk, error) {
	return nil, errors.New("the VM is on")
}

// Remember returns where the disks lie, for a time when the VM is off, and which of them
// cannot be read then.
func (q *qemuVM) Remember() []blockstore.ImageDisk {
	ctx, cancel := context.WithTimeout(context.Background(), cleanTimeout)
	defer cancel()
	disks, err := q.machine.Disks(ctx)
	if err != nil {
		return nil // what was known before stays
	}
	var images []blockstore.ImageDisk
	for i := range disks {
		d := &disks[i]
		if d.Impossible || d.Transient || d.Size == 0 {
			continue
		}
		image := blockstore.ImageDisk{Name: d.Name, Path: q.path(d.Filename), Format: d.Format, Shareable: d.Shareable}
		if image.Format == "file" || image.Format == "host_device" { // without a layer of a format: raw
			image.Format = "raw"
		}
		switch {
		case d.Apart != "":
			image.Unreadable = d.Apart
		case image.Format != "raw" && image.Format != "qcow2":
			image.Unreadable = fmt.Sprintf("QEMU reads it through its driver %s", d.Format)
		case !filepath.IsAbs(image.Path):
			image.Unreadable = "it is no file of this host, or is named without its folder"
		}
		if image.Unreadable != "" {
			image.Path = cmp.Or(image.Path, d.Node)
			images = append(images, image)
			continue
		}
		for _, l := range d.Chain[min(1, len(d.Chain)):] {
			if folder := filepath.Dir(q.path(l.Filename)); filepath.IsAbs(folder) && !slices.Contains(image.Backing, folder) {
				image.Backing = append(image.Backing, folder)
			}
		}
		images = append(images, image)
	}
	return images
}

// Clean is part of LiveVM.
func (q *qemuVM) Clean(ctx context.Context, vault, keep string) ([]string, error) {
	return words(q.machine.Clean(ctx, qemu.CleanRequest{Vault: vault, Keep: keep, Scratch: qemu.ScratchOptions(q.scratch)}))
}

// Leftovers is part of LiveVM.
func (q *qemuVM) Leftovers(ctx context.Context, vault, keep string) ([]string, error) {
	return words(q.machine.Leftovers(ctx, qemu.CleanRequest{Vault: vault, Keep: keep, Scratch: qemu.ScratchOptions(q.scratch)}))
}

// Plan is part of LiveVM.
func (q *qemuVM) Plan(ctx context.Context, names []string, parent string) ([]DiskPlan, error) {
	plans, err := q.machine.Plan(ctx, names, parent, qemu.ScratchOptions(q.scratch))
	if err != nil {
		return nil, err
	}
	var all []DiskPlan
	for _, p := range plans {
		all = append(all, DiskPlan{Name: p.Disk.Name, Mode: blockstore.ReadMode(p.Mode), Reason: p.Reason, Size: p.Disk.Size,
			ToRead: p.Bytes, Scratch: p.Scratch, Warning: p.Warning, Refusal: p.Refusal})
	}
	return all, nil
}

// Guest is part of LiveVM.
func (q *qemuVM) Guest(context.Context) (quiesce.Guest, quiesce.Reach, error) {
	socket, open := q.at.QGA, true
	for _, a := range q.vm.Agents {
		if socket == "" && a.Socket != "" || a.Socket == socket {
			socket, open = a.Socket, a.Open
		}
	}
	switch {
	case socket == "":
		return nil, quiesce.Reach{}, errors.New("the VM has no channel for a guest agent")
	case !open:
		return nil, quiesce.Reach{}, fmt.Errorf("%w: nothing in the guest has opened its channel", qga.ErrAbsent)
	}
	return qga.New(socket), quiesce.Reach{QGA: socket}, nil
}

// qemuSnapshot makes a snapshot of QEMU's one of ours.
type qemuSnapshot struct{ *qemu.Snapshot }

// Snapshot is part of LiveVM.
func (q *qemuVM) Snapshot(ctx context.Context, r SnapshotRequest) (Snapshot, error) {
	request := qemu.SnapshotRequest{Parent: r.Parent, Point: r.Point, Hold: r.Hold, Scratch: qemu.ScratchOptions(q.scratch)}
	for _, d := range r.Disks {
		request.Disks = append(request.Disks, qemu.DiskRequest{Name: d.Name, Scan: d.Scan})
	}
	s, err := q.machine.Snapshot(ctx, request)
	if err != nil {
		return nil, err
	}
	return qemuSnapshot{s}, nil
}

// Time is part of Snapshot.
func (s qemuSnapshot) Time() time.Time { return s.Snapshot.Time }

// Disks is part of Snapshot.
func (s qemuSnapshot) Disks() (disks []SnapshotDisk) {
	for _, d := range s.Snapshot.Disks {
		disks = append(disks, SnapshotDisk{Source: d, Name: d.Name, Mode: blockstore.ReadMode(d.Mode), Reason: d.Reason})
	}
	return disks
}

// Config is part of VM.
func (q *qemuVM) Config(_ context.Context, secrets bool) (files []ConfigFile, missing []string) {
	if q.process.PID == 0 {
		return nil, []string{"QEMU's command line, which cannot be read"}
	}
	args := q.process.Args
	if !secrets {
		args = withoutSecrets(args)
	}
	return []ConfigFile{{CommandLine, []byte(strings.Join(oneLined(args), "\n") + "\n")}}, nil
}

// oneLined replaces ends of lines in arguments, which QEMU takes for blanks where it
// allows them at all.
func oneLined(args []string) []string {
	lines := make([]string, len(args))
	for i, a := range args {
		lines[i] = strings.Map(func(r rune) rune {
			if r == '\n' || r == '\r' {
				return ' '
			}
			return r
		}, a)
	}
	return lines
}

var secretValue = regexp.MustCompile(`((?:^|[,{])\s*"?(?:data|password|passwd|key)"?\s*[=:]\s*"?)[^,"}]*`)

// withoutSecrets takes out what stands in the open: keys of -object secret, and passwords.
func withoutSecrets(args []string) []string {
	clean := slices.Clone(args)
	for i := 1; i < len(clean); i++ {
		switch strings.TrimLeft(clean[i-1], "-") {
		case "object", "vnc", "spice", "drive", "blockdev":
			if strings.Contains(clean[i], "secret") || strings.Contains(clean[i], "pass") {
				clean[i] = secretValue.ReplaceAllString(clean[i], "${1}REMOVED")
			}
		}
	}
	return clean
}

// State is part of VM. A file is NVRAM only if QEMU can write to it.
func (q *qemuVM) State(context.Context) (files []ConfigFile, missing []string) {
	m := q.process.Machine
	if m.NVRAM != "" {
		b, err := []byte(nil), errors.New("QEMU does not have it open for writing")
		if procs.Writes(q.process.PID, m.NVRAM) {
			b, err = readState(m.NVRAM)
		}
		if err != nil {
			missing = append(missing, fmt.Sprintf("NVRAM %s: %v", m.NVRAM, err))
		} else {
			files = append(files, ConfigFile{NVRAM, b})
		}
	}
	if m.TPM != "" {
		var b []byte
		tpm, err := procs.FindTPM(m.TPM)
		if err == nil {
			b, err = packState(tpm.Folder, int64(tpm.UID))
		}
		if err != nil {
			missing = append(missing, fmt.Sprintf("the state of the TPM: %v", err))
		} else {
			files = append(files, ConfigFile{TPMState, b})
		}
	}
	return files, missing
}
