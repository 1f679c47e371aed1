package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Leftover is something of ours in QEMU or in the scratch folder that no run needs.
type Leftover struct {
	Kind string // export, server, job, node, bitmap, folder, pause
	Name string
	Node string // of a bitmap: the node of the disk that it is on
	Why  string // of the bitmap to keep: why it could not be kept; else empty
}

func (l Leftover) String() string {
	text := l.Kind + " " + l.Name
	if l.Node != "" {
		text += " on " + l.Node
	}
	if l.Why != "" {
		text += " (" + l.Why + ")"
	}
	return text
}

// CleanRequest says what is left after cleaning.
type CleanRequest struct {
	Vault   string // whose bitmaps are removed; empty: none are touched
	Keep    string // bitmap that stays: that of the vault's latest point of the machine; empty: none
	Scratch ScratchOptions
}

const (
	releaseTimeout = 2 * time.Minute  // where the caller's context has no earlier deadline
	stepTimeout    = 30 * time.Second // of one step of cleaning: one that hangs must not keep the others from being tried
)

// Leftovers lists what Clean would remove. While a run works on the machine, that is what
// the run has made. It changes nothing.
func (m *Machine) Leftovers(ctx context.Context, q CleanRequest) ([]Leftover, error) {
	vm, err := m.VM(ctx)
	if err != nil {
		return nil, err
	}
	path := q.Scratch.folder() + "/" + runKey(vm)
	sw := &sweeping{m: m, vault: q.Vault, keep: q.Keep, folder: path, dry: true}
	if err := sw.all(ctx); err != nil {
		return nil, fmt.Errorf("look for leftovers: %w", err)
	}
	if _, err := os.Lstat(path); err == nil {
		sw.note("folder", path)
	}
	return sw.found, nil
}

// Clean removes what runs that died left behind, and returns what it removed. A guest that
// stopped because of it is resumed. What others made, bitmaps of other vaults among it,
// is not touched. Errors: ErrBusy while a run works on the machine.
func (m *Machine) Clean(ctx context.Context, q CleanRequest) (found []Leftover, err error) {
	r, err := m.begin(ctx, q.Scratch)
	if err != nil {
		return nil, fmt.Errorf("clean up: %w", err)
	}
	defer func() { err = errors.Join(err, r.end()) }()
	sweepFolder(q.Scratch.folder())
	found, err = m.sweep(ctx, &sweeping{vault: q.Vault, keep: q.Keep, folder: r.path})
	if err != nil {
		return found, fmt.Errorf("clean up: %w", err)
	}
	return found, nil
}

// sweep removes everything of ours, and the run's folder.
func (m *Machine) sweep(ctx context.Context, sw *sweeping) ([]Leftover, error) {
	sw.m = m
	err := sw.all(ctx)
	if gone(err) {
		err = nil // and with QEMU, all that was in it
	}
	if err == nil {
		if _, missing := os.Lstat(sw.folder); missing == nil {
			sw.note("folder", sw.folder)
			err = removeRunFolder(sw.folder)
		}
	}
	return sw.found, err
}
