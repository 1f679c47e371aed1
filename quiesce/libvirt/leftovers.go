package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// Leftover is something of ours that no run needs.
type Leftover struct {
	Kind string // job, checkpoint, bitmap or scratch
	Name string
}

func (l Leftover) String() string { return l.Kind + " " + l.Name }

// CleanRequest says what is left after cleaning.
type CleanRequest struct {
	Vault   string // whose checkpoints are removed; empty: those of all vaults
	Keep    string // checkpoint that stays: that of the vault's latest point of the machine; empty: none
	Scratch qemu.ScratchOptions
	// RawBitmaps has QEMU asked, behind libvirt's back, as runs with that option do: what they leave is
	// in QEMU alone. Of a domain that is off it changes nothing.
	RawBitmaps bool
}

// Leftovers lists what Clean would remove, be the domain running or off. It changes nothing.
func (d *Domain) Leftovers(ctx context.Context, q CleanRequest) ([]Leftover, error) {
	var list []Leftover
	path := filepath.Join(scratchFolder(q.Scratch), ourPrefix+d.uuid)
	if ours, err := d.ourJob(ctx, &folder{path: path}); err == nil && ours {
		list = append(list, Leftover{"job", "backup of " + d.name})
	} else if err != nil && !isBusy(err) {
		return nil, d.wrap("look for leftovers", err)
	}
	stale, err := d.staleCheckpoints(ctx, q.Vault, []string{q.Keep})
	if err != nil {
		return nil, err
	}
	for _, name := range stale {
		list = append(list, Leftover{"checkpoint", name})
	}
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		list = append(list, Leftover{"scratch", filepath.Join(path, e.Name())})
	}
	bitmaps, err := d.strayBitmaps(ctx, q)
	for _, b := range bitmaps {
		list = append(list, Leftover{"bitmap", b.name + " in " + b.path})
	}
	if err == nil && q.RawBitmaps {
		var inside []Leftover
		inside, err = d.insideQEMU(ctx, q, (*qemu.Machine).Leftovers)
		list = append(list, inside...)
	}
	return list, d.wrap("look for leftovers", err)
}

func isBusy(err error) bool {
	var busy *BusyError
	return errors.As(err, &busy)
}

// Clean removes what runs that died left behind, and returns what it removed. It works on
// domains that are off, too: their checkpoints would keep virsh from undefining them. What others
// made is not touched. Errors: qemu.ErrBusy or *BusyError while a run works on the domain.
func (d *Domain) Clean(ctx context.Context, q CleanRequest) ([]Leftover, error) {
	gone, err := d.clean(ctx, q)
	return gone, d.wrap("clean-up", err)
}

func (d *Domain) clean(ctx context.Context, q CleanRequest) (gone []Leftover, err error) {
	f, err := openFolder(q.Scratch, d.uuid, -1, -1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	aborted, err := d.abort(ctx, f, time.Time{})
	if err != nil {
		return nil, err
	}
	if aborted {
		gone = append(gone, Leftover{"job", "backup of " + d.name})
		j := &job{d: d, folder: f}
		if err := j.resume(ctx); err != nil {
			return gone, err
		}
	}
	files, err := f.clear()
	gone = append(gone, files...)
	checkpoints, err2 := d.cleanCheckpoints(ctx, q.Vault, []string{q.Keep})
	gone = append(gone, checkpoints...)
	bitmaps, err3 := d.strayBitmaps(ctx, q)
	errs := []error{err, err2, err3}
	for _, b := range bitmaps {
		if err := removeBitmap(ctx, b.path, b.name); err != nil {
			errs = append(errs, err)
			continue
		}
		gone = append(gone, Leftover{"bitmap", b.name + " in " + b.path})
	}
	if q.RawBitmaps {
		inside, err := d.insideQEMU(ctx, q, (*qemu.Machine).Clean)
		gone, errs = append(gone, inside...), append(errs, err)
	}
	return gone, errors.Join(errs...)
}

// insideQEMU does something about what runs behind libvirt have left in QEMU; of a domain that
// is off there is nothing.
func (d *Domain) insideQEMU(ctx context.Context, q CleanRequest, do func(*qemu.Machine, context.Context, qemu.CleanRequest) ([]qemu.Leftover, error)) ([]Leftover, error) {
	state, _, err := d.State(ctx)
	if err != nil || !state.Active() {
		return nil, err
	}
	m, err := qemu.Open(ctx, d.Monitor(), qemu.Options{PID: d.pid()})
	if err != nil {
		return nil, err
	}
	found, err := do(m, ctx, qemu.CleanRequest{Vault: q.Vault, Keep: q.Keep, Scratch: q.Scratch})
	var list []Leftover
	for _, l := range found {
		kind, name, _ := strings.Cut(l.String(), " ")
		list = append(list, Leftover{kind, name})
	}
	return list, err
}

// stray is a bitmap of ours in an image.
type stray struct{ path, name string }

// strayBitmaps finds bitmaps of ours in images of this host, for which there is no
// checkpoint; only of a domain that is off, for QEMU has those of one that runs.
func (d *Domain) strayBitmaps(ctx context.Context, q CleanRequest) ([]stray, error) {
	state, _, err := d.State(ctx)
	if err != nil || state.Active() {
		return nil, err
	}
	root, err := d.tree(ctx)
	if err != nil {
		return nil, err
	}
	known, err := d.checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	var found []stray
	for _, disk := range disksOf(root) {
		if disk.Format != "qcow2" || disk.Source.Path == "" {
			continue
		}
		names, err := bitmapsOf(ctx, disk.Source.Path)
		if err != nil {
			continue // an image that is missing or in use has none that we could remove
		}
		for _, name := range names {
			vault, ours := oursFor(name)
			if !ours || q.Vault != "" && vault != q.Vault || name == q.Keep || slices.Contains(known, name) {
				continue
			}
			found = append(found, stray{disk.Source.Path, name})
		}
	}
	return found, nil
}

// bitmapsOf lists the bitmaps that a qcow2 image keeps. Files that its header names are not opened.
func bitmapsOf(ctx context.Context, path string) ([]string, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("image %q: not a whole path", path)
	}
	text, err := json.Marshal(fileNode(path, "qcow2"))
	if err != nil {
		return nil, err
	}
	out, err := qemuImg(ctx, "info", "--output=json", "--force-share", "json:"+string(text))
	if err != nil {
		return nil, err
	}
	var info struct {
		Specific struct {
			Data struct {
				Bitmaps []struct {
					Name string `json:"name"`
				} `json:"bitmaps"`
			} `json:"data"`
		} `json:"format-specific"`
	}
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		return nil, fmt.Errorf("qemu-img info: %w", err)
	}
	var names []string
	for _, b := range info.Specific.Data.Bitmaps {
		names = append(names, b.Name)
	}
	return names, nil
}
