package quiesce

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce/qga"
	"github.com/holdfast-backup/holdfast/quiesce/qga/agenttest"
)

// fakeVirsh writes a program that stands in for virsh, and returns its path.
func fakeVirsh(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "virsh")
	// Written by another process: a file that a fork of ours holds open for writing cannot be run.
	cmd := exec.Command("sh", "-c", `cat >"$0" && chmod +x "$0"`, path)
	cmd.Stdin = strings.NewReader("#!/bin/sh\n" + script)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestADomainIsThawedUntilNothingIsFrozen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// The agent's job is held at first, then two are thawed, then none.
	program := fakeVirsh(t, `[ "$*" = "--connect qemu:///system domfsthaw --domain web 1" ] || { echo "wrong: $*" >&2; exit 1; }
echo >> `+dir+`/calls
case $(wc -l < `+dir+`/calls) in
1) echo "error: Timed out during operation: cannot acquire state change lock" >&2; exit 1;;
2) echo "Thawed 2 filesystem(s)";;
*) echo "Thawed 0 filesystem(s)";;
esac
`)
	t2, err := thaw(t.Context(), virsh{Reach{URI: "qemu:///system", Domain: "web 1"}, program}, thawCall)
	if err != nil || t2.count != 2 || t2.first == nil {
		t.Errorf("%+v, %v", t2, err)
	}
}

func TestADomainThatDoesNotRunIsGone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"error: Requested operation is not valid: domain is not running", "error: failed to get domain 'web1'"} {
		program := fakeVirsh(t, "echo \""+text+"\" >&2; exit 1")
		if _, err := thaw(t.Context(), virsh{Reach{Domain: "web1"}, program}, thawCall); !errors.Is(err, qga.ErrGone) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := (virsh{Reach{Domain: "web1"}, fakeVirsh(t, "echo strange")}).Thaw(t.Context()); err == nil || !strings.Contains(err.Error(), "strange") {
		t.Errorf("an answer that is none: %v", err)
	}
}

func TestALibvirtThatDoesNotRunIsTold(t *testing.T) {
	t.Parallel()
	program := fakeVirsh(t, `echo "error: failed to connect to the hypervisor" >&2
echo "error: Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory" >&2
exit 1
`)
	_, err := (virsh{Reach{URI: "qemu:///system", Domain: "web1"}, program}).Thaw(t.Context())
	if !errors.Is(err, ErrNoLibvirt) || !strings.Contains(err.Error(), "libvirt-sock") {
		t.Errorf("it says %v", err)
	}
}

// down is a guest that cannot be reached, and whose second request is cut short.
type down struct {
	tries int
	cut   context.CancelFunc
}

func (d *down) Thaw(ctx context.Context) (int, error) {
	if d.tries++; d.tries == 1 {
		return 0, ErrNoLibvirt
	}
	d.cut()
	return 0, ctx.Err()
}

func (d *down) Frozen(context.Context) (bool, error) { return false, errors.ErrUnsupported }

func TestWhyAGuestIsNotThawedIsWhatWasAnsweredBeforeTheTimeWasOver(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := thaw(ctx, &down{cut: cancel}, thawCall); !errors.Is(err, ErrNoLibvirt) {
		t.Errorf("it says %v", err)
	}
}

// unasked is an agent that cannot be asked whether it froze, as through libvirt.
type unasked struct{ *qga.Agent }

func (unasked) Frozen(context.Context) (bool, error) { return false, errors.ErrUnsupported }

func TestAThawIsVerifiedWithoutAStatus(t *testing.T) {
	t.Parallel()
	fake, agent, o := setUp(t, agenttest.Script{})
	r, err := Quiesce(t.Context(), unasked{agent}, o, func(context.Context) error { return nil })
	if err != nil || r.Reached != blockstore.Filesystem || fake.Frozen() {
		t.Errorf("%+v, %v", r, err)
	}
	thaws := 0
	for _, said := range fake.Said() {
		if said == "guest-fsfreeze-thaw" {
			thaws++
		}
	}
	if thaws != 2 {
		t.Errorf("thawed %d times", thaws)
	}
}
