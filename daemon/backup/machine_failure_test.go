package backup_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

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
