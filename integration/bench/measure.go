package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cost is what one run took.
type cost struct {
	Wall, CPU float64 // seconds
	Anon      int64   // peak RssAnon, in bytes
}

// best keeps the quicker of two runs, and the larger memory.
func best(a, b cost) cost {
	anon := max(a.Anon, b.Anon)
	if a.Wall == 0 || b.Wall != 0 && b.Wall < a.Wall {
		a = b
	}
	a.Anon = anon
	return a
}

// command is a program to run, with what is added to the environment.
type command struct {
	args []string
	dir  string
	env  []string
}

func (c command) prepare(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// measure runs c to its end and says what it took.
func measure(ctx context.Context, c command) (cost, error) {
	cost, _, err := measureOutput(ctx, c)
	return cost, err
}

func measureOutput(ctx context.Context, c command) (cost, []byte, error) {
	cmd := c.prepare(ctx)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return cost{}, nil, err
	}
	peak := watchAnon(cmd.Process.Pid)
	err := cmd.Wait()
	result := cost{Wall: time.Since(start).Seconds(), Anon: peak()}
	if err != nil {
		return cost{}, nil, fmt.Errorf("%s: %w: %s", strings.Join(c.args, " "), err, lastLines(stderr.String()))
	}
	result.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return result, out.Bytes(), nil
}

// watchAnon samples a process until the returned function is called, which
// says the peak in bytes.
func watchAnon(pid int) (stop func() int64) {
	end, done := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		var peak int64
		for {
			peak = max(peak, anonOf(pid))
			select {
			case <-tick.C:
			case <-end:
				done <- peak
				return
			}
		}
	}()
	return func() int64 { close(end); return <-done }
}

// anonOf is the anonymous memory of a process in bytes, 0 when it is gone.
func anonOf(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	line, _, _ := strings.Cut(rest, "\n")
	kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(line), "kB")), 10, 64)
	return kib << 10
}

// syncStore is the time that the store's file system takes to bring all to disk.
func syncStore(folder string) (float64, error) {
	f, err := os.Open(folder)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	start := time.Now()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return 0, fmt.Errorf("syncfs %s: %w", folder, err)
	}
	return time.Since(start).Seconds(), nil
}

// server is a program that serves a mount while others read.
type server struct {
	cmd    *exec.Cmd
	peak   func() int64
	stderr *bytes.Buffer
	mount  string
}

// serve starts c and waits until something is mounted.
func serve(ctx context.Context, c command, mountpoint string) (*server, error) {
	if err := os.MkdirAll(mountpoint, 0o700); err != nil {
		return nil, err
	}
	s := &server{cmd: c.prepare(ctx), stderr: &bytes.Buffer{}, mount: mountpoint}
	s.cmd.Stderr = s.stderr
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.peak = watchAnon(s.cmd.Process.Pid)
	for range 3000 {
		if isMount(mountpoint) {
			return s, nil
		}
		if anonOf(s.cmd.Process.Pid) == 0 { // a process that has ended has no memory
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	err := s.cmd.Wait()
	s.peak()
	return nil, fmt.Errorf("%s did not mount: %w: %s", strings.Join(c.args, " "), err, lastLines(s.stderr.String()))
}

// end unmounts and returns the peak of anonymous memory in bytes.
func (s *server) end() (int64, error) {
	defer os.Remove(s.mount)
	s.cmd.Process.Signal(os.Interrupt)
	gone := make(chan error, 1)
	go func() { gone <- s.cmd.Wait() }()
	select {
	case <-gone:
	case <-time.After(5 * time.Second): // some peers want to be asked through the mount
		exec.Command("fusermount3", "-u", "-z", s.mount).Run()
		<-gone
	}
	peak := s.peak()
	if isMount(s.mount) {
		return peak, fmt.Errorf("%s is still mounted: %s", s.mount, lastLines(s.stderr.String()))
	}
	return peak, nil
}

func isMount(folder string) bool {
	var here, above syscall.Stat_t
	return syscall.Stat(folder, &here) == nil && syscall.Stat(filepath.Dir(folder), &above) == nil && here.Dev != above.Dev
}

func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}

// besideLoop measures ours and a bare loop that this program runs as a command of its own, in turns, and returns
// the best of each.
func (b *bench) besideLoop(ctx context.Context, what string, ours func() (cost, error), loop ...string) (mine, bare cost, err error) {
	self, err := os.Executable()
	if err != nil {
		return mine, bare, err
	}
	for round := range b.rounds + 1 {
		b.say("%s, round %d: ours, bare loop", what, round+1)
		c, err := ours()
		if err != nil {
			return mine, bare, err
		}
		mine = best(mine, c)
		b.say("  %6.2f s wall, %6.2f s CPU, RssAnon %s", c.Wall, c.CPU, mib(c.Anon))
		if c, err = measure(ctx, command{args: append([]string{self}, loop...)}); err != nil {
			return mine, bare, err
		}
		b.say("  %6.2f s wall, %6.2f s CPU", c.Wall, c.CPU)
		bare = best(bare, c)
	}
	return mine, bare, nil
}
