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
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		if os.Getenv("HOLDFAST_CI") == "1" {
			t.Fatal(err)
		}
		t.Skipf("no mount without /dev/fuse: %v", err)
	} else {
		f.Close()
	}
	cmp := need(t, "cmp")
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
