package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// pot is a buffer that may be read while it is written.
type pot struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *pot) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

func (p *pot) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

func TestAMountShowsThePointsUntilItIsInterrupted(t *testing.T) {
	t.Parallel()
	needFuse(t)
	cmp := needs.Tool(t, "cmp")
	y := newYard(t)
	y.write("expected", y.vda[1])
	at := y.path("mnt")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said, ended := new(pot), make(chan int, 1)
	go func() {
		k := &console{out: new(pot), err: said, getenv: func(n string) string { return y.env[n] }}
		ended <- run(ctx, k, []string{"mount", at})
	}()
	for !strings.Contains(said.String(), "mounted at "+at) {
		select {
		case code := <-ended:
			t.Fatalf("ended with %d: %s", code, said)
		case <-time.After(5 * time.Millisecond):
		}
	}
	// Another process looks: one must not open files on its own mount.
	if out, err := exec.Command(cmp, y.path("expected"), at+"/web1/latest/disks/vda.raw").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	cat, err := exec.Command("cat", at+"/web1/latest/point.json").Output()
	if err != nil || !strings.Contains(string(cat), `"id": "`+y.points[1].ID+`"`) {
		t.Errorf("point.json: %v: %s", err, cat)
	}
	cancel()
	if code := <-ended; code != exitDone || !strings.Contains(said.String(), "unmounted "+at) {
		t.Errorf("ended with %d: %s", code, said)
	}
}

func needFuse(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	needs.That(t, err == nil, "/dev/fuse: %v", err)
	f.Close()
}

func TestASecondSignalLeavesNoStaleMount(t *testing.T) {
	t.Parallel()
	needFuse(t)
	y := newYard(t)
	at := y.path("mnt")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd, said := y.start("mounted at "+at, "mount", at)
	user := exec.Command("sleep", "60")
	user.Dir = at
	if err := user.Start(); err != nil {
		t.Fatal(err)
	}
	defer user.Wait()
	defer user.Process.Kill()
	cmd.Process.Signal(os.Interrupt)
	for _, want := range []string{"warning: mount " + at + " is in use by sleep (pid ", "hint: it is unmounted when it is free"} {
		if line, err := said.ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("%q was said, want %q: %v", line, want, err)
		}
	}
	cmd.Process.Signal(os.Interrupt)
	code, rest := end(t, cmd, said)
	if code != -1 || !strings.Contains(rest, "unmounted "+at+" while it was in use") {
		t.Errorf("exit code %d: %s", code, rest)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), " "+at+" ") {
		t.Errorf("it is mounted still, %v", err)
	}
}
