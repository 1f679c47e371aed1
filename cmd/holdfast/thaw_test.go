package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/quiesce"
	"github.com/holdfast-backup/holdfast/quiesce/qga/agenttest"
)

// leave notes a freeze of machine in the shell's journal, as a backup does that is killed.
func (s *shell) leave(machine, socket string) {
	s.t.Helper()
	dir := freezesIn(s.env["HOLDFAST_STATE"])
	text, err := json.Marshal(map[string]any{"version": 1, "machine": machine, "reach": map[string]string{"qga": socket}, "time": time.Now(), "pid": 1})
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, machine+".freeze"), text, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestThawEndsWhatWasLeftBehindAndNeedsNoVault(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must(exitDone, "thaw", "--leftovers").says(t, "no guest was left frozen")
	fake := agenttest.Start(t, agenttest.Script{})
	fake.SetFrozen(2)
	s.leave("web1", fake.Socket)
	s.leave("web2", filepath.Join(t.TempDir(), "none"))
	var result api.Thaw
	o := s.must(exitDone, "thaw", "--leftovers", "--json")
	if err := json.Unmarshal([]byte(o.out), &result); err != nil || len(result.Guests) != 2 {
		t.Fatalf("%v: %s", err, o.out)
	}
	one, two := result.Guests[0], result.Guests[1]
	if one.Machine != "web1" || one.Outcome != "thawed" || one.Filesystems != 2 || one.Since == nil || two.Outcome != "gone" || two.Error == "" || fake.Frozen() {
		t.Errorf("%s; frozen: %v", o.out, fake.Frozen())
	}
	s.must(exitDone, "thaw", "--leftovers").says(t, "no guest was left frozen")
}

func TestABackupThawsWhatAnEarlierOneLeft(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	fake := agenttest.Start(t, agenttest.Script{})
	fake.SetFrozen(2)
	s.leave("web1", fake.Socket)
	s.must(exitNotFound, "backup", "web2", "--disk", "vda=/nowhere.raw", "--vault", filepath.Join(t.TempDir(), "none")).says(t, "thawed now")
	if fake.Frozen() {
		t.Error("the guest is frozen")
	}
}

func TestThawSaysWhatItCannotDo(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	dir := freezesIn(s.env["HOLDFAST_STATE"])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.freeze"), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must(exitFailed, "thaw", "--leftovers").says(t, "may still be frozen")
}

func TestOneGuestIsThawedByHand(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	fake := agenttest.Start(t, agenttest.Script{})
	fake.SetFrozen(3)
	s.must(exitDone, "thaw", "--qga", fake.Socket).says(t, "3 file systems")
	s.must(exitDone, "thaw", "--qga", fake.Socket).says(t, "is not frozen")
	s.must(exitDone, "thaw", "--qga", fake.Socket, "--json").says(t, `"outcome": "thawed"`)
	s.must(exitNotFound, "thaw", "--qga", filepath.Join(t.TempDir(), "none")).says(t, "is it running?")
}

func TestADomainOfLibvirtIsTakenApart(t *testing.T) {
	t.Parallel()
	for s, want := range map[string][2]string{
		"web1":                          {"", "web1"},
		"web/1":                         {"", "web/1"},
		"qemu:///system/web1":           {"qemu:///system", "web1"},
		"qemu+ssh://root@h/system/web1": {"qemu+ssh://root@h/system", "web1"},
		"qemu:///system/":               {"qemu:///system", ""},
	} {
		if uri, domain := splitDomain(s); uri != want[0] || domain != want[1] {
			t.Errorf("%s is %q and %q", s, uri, domain)
		}
	}
}

// It changes where programs are found, and so runs alone.
func TestWhoThawsADomainIsToldWhatIsWaitedForAndThatLibvirtIsDown(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	var said bytes.Buffer
	env := map[string]string{}
	k := &console{err: &said, getenv: func(name string) string { return env[name] }}
	var calls atomic.Int64
	tried := func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "calls"))
		return int64(len(b)) >= calls.Load()+2
	}
	told := func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return tried() && said.Len() > 0
	}
	thaw := func(uri string, quiet time.Duration, until func() bool) (detail, hint string) {
		t.Helper()
		said.Reset()
		b, _ := os.ReadFile(filepath.Join(dir, "calls"))
		calls.Store(int64(len(b)))
		ctx, cancel := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() {
			for ctx.Err() == nil && !until() {
				time.Sleep(time.Millisecond)
			}
			cancel()
		})
		err := thawOne(ctx, k, quiesce.Reach{URI: uri, Domain: "web1"}, false, thawTimes{quiet, time.Minute})
		cancel()
		watching.Wait()
		if err == nil {
			t.Fatal("it is thawed")
		}
		p := service.Explain(err)
		return p.Detail, p.Hint
	}
	if detail, hint := thaw("", time.Minute, tried); !strings.Contains(detail, "domain web1 of libvirt at its usual URI") || !strings.Contains(hint, "install virsh") {
		t.Errorf("without virsh: %s (%s)", detail, hint)
	}
	script := "#!/bin/sh\nprintf . >> " + filepath.Join(dir, "calls") + "\necho 'error: failed to connect to the hypervisor' >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "virsh"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	detail, hint := thaw("qemu+ssh://kvm2/system", time.Millisecond, told)
	if !strings.Contains(detail, "libvirt at qemu+ssh://kvm2/system: ") || !strings.Contains(detail, "failed to connect") || !strings.Contains(hint, "systemctl start libvirtd") {
		t.Errorf("libvirt is down: %s (%s)", detail, hint)
	}
	if got := said.String(); got != "waiting for libvirt at qemu+ssh://kvm2/system to thaw web1, for 1m0s at most\n" {
		t.Errorf("it says %q", got)
	}
	env["LIBVIRT_DEFAULT_URI"] = "qemu:///session"
	if detail, _ := thaw("", time.Minute, tried); !strings.Contains(detail, "libvirt at qemu:///session: ") || said.Len() > 0 {
		t.Errorf("%s, and before %q", detail, &said)
	}
}
