package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// qemu starts a QEMU without a machine and returns the paths of its monitors.
func qemu(t *testing.T, monitors ...string) (paths []string, cmd *exec.Cmd) {
	t.Helper()
	needs.Tools(t, "qemu-system-x86_64")
	folder, err := os.MkdirTemp("", "qmp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	args := []string{"-machine", "none", "-display", "none", "-nodefaults"}
	for i, more := range monitors {
		path := filepath.Join(folder, fmt.Sprint(i))
		paths = append(paths, path)
		args = append(args, "-chardev", fmt.Sprintf("socket,id=c%d,path=%s,server=on,wait=off", i, path),
			"-mon", fmt.Sprintf("chardev=c%d,mode=control%s", i, more))
	}
	cmd = exec.Command("qemu-system-x86_64", args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return paths, cmd
}

func connected(t *testing.T, path string) *Client {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c, err := Dial(t.Context(), path)
		if err == nil {
			t.Cleanup(func() { c.Close() })
			return c
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
	}
	t.Fatal("QEMU does not start")
	return nil
}

func TestQEMUAnswers(t *testing.T) {
	paths, cmd := qemu(t, "", ",pretty=on")
	for _, path := range paths {
		c := connected(t, path)
		if g := c.Greeting(); g.Major < 5 {
			t.Errorf("%+v", g)
		}
		if pid, uid, gid := c.Peer(); pid != cmd.Process.Pid || uid != os.Getuid() || gid != os.Getgid() {
			t.Errorf("peer %d %d %d", pid, uid, gid)
		}
		var schema []json.RawMessage
		if err := c.Do(t.Context(), "query-qmp-schema", nil, &schema); err != nil || len(schema) < 500 {
			t.Errorf("%d entries, %v", len(schema), err)
		}
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				var got struct{ Running bool }
				if err := c.Do(t.Context(), "query-status", nil, &got); err != nil {
					t.Error(err)
				}
				name := fmt.Sprintf("no-such-%d", i)
				err := c.Do(t.Context(), name, map[string]int{"x": 1}, nil)
				var refused *Error
				if !errors.As(err, &refused) || refused.Command != name || !IsClass(err, CommandNotFound) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := c.Do(t.Context(), "query-status", nil, new(string)); err == nil {
			t.Error("an answer of another kind was taken")
		}
		if err := c.Do(t.Context(), "query-status", func() {}, nil); err == nil {
			t.Error("a function was sent")
		}
	}
}

func TestEventsCome(t *testing.T) {
	paths, _ := qemu(t, "")
	c := connected(t, paths[0])
	for _, command := range []string{"stop", "cont"} {
		if err := c.Do(t.Context(), command, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"STOP", "RESUME"} {
		select {
		case e := <-c.Events():
			if e.Name != want || time.Since(e.Time).Abs() > time.Hour {
				t.Errorf("%+v, want %s", e, want)
			}
		case <-time.After(time.Minute):
			t.Fatal("no event")
		}
	}
	// Nobody fetches these, and commands are answered all the same.
	for range maxEvents {
		for _, command := range []string{"stop", "cont"} {
			if err := c.Do(t.Context(), command, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if c.Dropped() < maxEvents-1 || len(c.Events()) != maxEvents {
		t.Errorf("%d dropped, %d wait", c.Dropped(), len(c.Events()))
	}
}

func TestAMonitorThatAnotherClientHoldsIsBusy(t *testing.T) {
	paths, _ := qemu(t, "")
	c := connected(t, paths[0])
	if _, err := dial(t.Context(), paths[0], 100*time.Millisecond); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	c.Close()
	connected(t, paths[0])
}

func TestQEMUThatEndsFailsEveryCommand(t *testing.T) {
	paths, cmd := qemu(t, "")
	c := connected(t, paths[0])
	cmd.Process.Kill()
	for range c.Events() {
	}
	for range 2 {
		if err := c.Do(t.Context(), "query-status", nil, nil); !errors.Is(err, ErrGone) {
			t.Error(err)
		}
	}
	c.Close()
	if err := c.Do(context.Background(), "query-status", nil, nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
