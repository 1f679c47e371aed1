package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// service is a daemon's place: its folders, its configuration, and what it tells systemd.
type service struct {
	vault
	run, state, config string

	mu   sync.Mutex
	told []string // lines, as systemd gets them
	sock string
}

// newService makes the place of a daemon that owns a vault; more is added to its configuration.
func newService(t *testing.T, v vault, more string) *service {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf") // names of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &service{vault: v, run: filepath.Join(dir, "r"), state: filepath.Join(dir, "s"), config: filepath.Join(dir, "c.yaml"), sock: filepath.Join(dir, "n")}
	s.configure(more)
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.sock, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends when l is closed
		b := make([]byte, 4096)
		for {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.told = append(s.told, strings.Split(string(b[:n]), "\n")...)
			s.mu.Unlock()
		}
	}()
	return s
}

func (s *service) configure(more string) {
	s.t.Helper()
	text := fmt.Sprintf("state: %s\nrun: %s\nvaults:\n  - path: %s\n    min-free: none\n%s", s.state, s.run, s.path, more)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// heard tells how often systemd was told something that begins so.
func (s *service) heard(line string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.told {
		if strings.HasPrefix(l, line) {
			n++
		}
	}
	return n
}

// command runs a command as one of this daemon's host.
func (s *service) command(args ...string) *exec.Cmd {
	cmd := s.vault.command(args...)
	cmd.Env = append(cmd.Env, "HOLDFAST_RUN="+s.run, "HOLDFAST_STATE="+s.state)
	return cmd
}

// begin starts the daemon and waits until it is ready and owns its vault.
func (s *service) begin() *running {
	s.t.Helper()
	before := s.heard("READY=1")
	p := s.launch()
	eventually(s.t, "the daemon owns its vault", func() bool {
		b, err := os.ReadFile(filepath.Join(s.run, "vaults.json"))
		return err == nil && strings.Contains(string(b), s.path) && s.heard("READY=1") > before
	})
	return p
}

func (s *service) launch() *running {
	s.t.Helper()
	p := &running{t: s.t, cmd: s.command("daemon", "--config", s.config)}
	p.cmd.Env = append(p.cmd.Env, "NOTIFY_SOCKET="+s.sock, "WATCHDOG_USEC=300000")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// end stops the daemon as systemd does, and returns when all is heard that it told systemd.
func (s *service) end(p *running) string {
	s.t.Helper()
	p.signal(syscall.SIGTERM)
	said := p.expect(0).err
	c, err := net.Dial("unixgram", s.sock)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	before := s.heard("LAST=1")
	fmt.Fprint(c, "LAST=1")
	eventually(s.t, "all is heard that the daemon told", func() bool { return s.heard("LAST=1") > before })
	return said
}

func (s *service) must(code int, args ...string) outcome {
	s.t.Helper()
	o := s.runs(args...)
	if o.code != code {
		s.t.Fatalf("holdfast %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), o.code, code, o.out, o.err)
	}
	return o
}

func (s *service) runs(args ...string) outcome {
	s.t.Helper()
	p := &running{t: s.t, cmd: s.command(args...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return p.wait()
}

// aJob is what the tests read of a job.
type aJob struct {
	ID, Kind, Machine, State, Policy, By string
	Attempt                              int
	RetryOf                              string `json:"retry_of"`
	Error                                *struct{ Detail string }
}

// jobs lists jobs, newest first.
func (s *service) jobs(kind string) (of []aJob) {
	s.t.Helper()
	var list []aJob
	o := s.must(0, "jobs", "--json")
	if err := json.Unmarshal([]byte(o.out), &list); err != nil {
		s.t.Fatalf("jobs --json: %v: %s", err, o.out)
	}
	for _, j := range list {
		if j.Kind == kind {
			of = append(of, j)
		}
	}
	return of
}

// owed protects machines whose images are at paths, and makes a policy for them, an hour ago: a run is owed when
// the daemon starts, and the next one is due tomorrow. It returns the policy.
func (v vault) owed(p blockstore.Policy, images map[string]string) blockstore.Policy {
	v.t.Helper()
	hour := func() time.Time { return time.Now().Add(-time.Hour) }
	o, err := blockstore.Own(v.t.Context(), v.path, blockstore.OwnOptions{MinFree: -1, Clock: hour})
	if err != nil {
		v.t.Fatal(err)
	}
	for name, image := range images {
		_, err := o.Protect(v.t.Context(), name, blockstore.Protection{Since: hour(), Consistency: blockstore.Crash, VM: blockstore.VM{Kind: blockstore.KindImages}, Images: []blockstore.ImageDisk{{Name: "vda", Path: image, Format: "raw"}}})
		if err != nil {
			v.t.Fatal(err)
		}
	}
	p.Name = "all"
	if p.Schedule == "" {
		p.Schedule, p.Zone = halfAnHourAgo()
	}
	if p.Machines == nil {
		p.Machines = []string{"*"}
	}
	if _, err := o.SetPolicy(v.t.Context(), p); err != nil {
		v.t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		v.t.Fatal(err)
	}
	return p
}

// halfAnHourAgo is a schedule by which a run was due then, and none will be soon.
func halfAnHourAgo() (schedule, zone string) {
	return "daily at " + time.Now().UTC().Add(-30*time.Minute).Format("15:04"), "UTC"
}

// randomImage makes a raw image of so many KiB.
func randomImage(t *testing.T, name string, kib int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	tool(t, "dd", "if=/dev/urandom", "of="+path, "bs=1K", fmt.Sprintf("count=%d", kib), "status=none")
	return path
}

func TestADaemonTellsSystemdHowItStands(t *testing.T) {
	t.Parallel()
	s := newService(t, newVault(t), "")
	p := s.begin()
	eventually(t, "the watchdog is told", func() bool { return s.heard("WATCHDOG=1") > 0 && s.heard("STATUS=1 of 1 vaults open") > 0 })

	s.configure("jobs: {at-once: 5}\n")
	p.signal(syscall.SIGHUP)
	eventually(t, "it has reloaded", func() bool {
		return s.heard("RELOADING=1") == 1 && s.heard("READY=1") == 2 && s.heard("MONOTONIC_USEC=") == 1
	})
	s.configure("job: {at-once: 5}\n")
	p.signal(syscall.SIGHUP)
	eventually(t, "it has refused", func() bool { return s.heard("RELOADING=1") == 2 && s.heard("READY=1") == 3 })
	s.must(0, "backup", "web1", "--disk", "vda="+randomImage(t, "a", 64)) // it goes on

	log := s.end(p)
	if s.heard("STOPPING=1") != 1 || !strings.Contains(log, "the configuration is refused") || !strings.Contains(log, "line 6: unknown field") || !strings.Contains(log, "daemon has ended") {
		t.Errorf("%q\n%s", s.told, log)
	}
	if _, err := os.Stat(filepath.Join(s.run, "api.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
	s.must(0, "check", "--data")
}

func TestADaemonWithoutConfigurationOrBesideAnotherSaysSo(t *testing.T) {
	t.Parallel()
	s := newService(t, newVault(t), "")
	s.config += "x"
	if o := s.launch().expect(6); !strings.Contains(o.err, "hint:") {
		t.Errorf("%s", o.err)
	}
	s.config = strings.TrimSuffix(s.config, "x")
	p := s.begin()
	if o := s.launch().wait(); o.code == 0 || !strings.Contains(o.err, s.run) {
		t.Errorf("%d, %s", o.code, o.err)
	}
	s.end(p)
}

func TestMachinesAreBackedUpByTheirPolicyOnce(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	image := randomImage(t, "a.raw", 300)
	v.owed(blockstore.Policy{Keep: blockstore.Keep{Last: 3}, Priority: 7}, map[string]string{"web1": image, "web2": image, "gone": image + "-not-there"})
	s := newService(t, v, "")
	p := s.begin()
	eventually(t, "three jobs are over, and points are pruned", func() bool {
		over := 0
		for _, j := range s.jobs("backup") {
			if j.State == "completed" || j.State == "failed" {
				over++
			}
		}
		return over == 3 && len(s.jobs("prune")) > 0 && s.jobs("prune")[0].State != "running"
	})
	for _, j := range s.jobs("backup") {
		if j.Policy != "all" || j.By != "policy all" || j.Attempt != 1 || (j.State == "failed") != (j.Machine == "gone") {
			t.Errorf("%+v", j)
		}
	}
	s.end(p)
	if n := len(v.points()); n != 2 {
		t.Errorf("%d points", n)
	}
	p = s.begin()
	s.must(0, "sweep")
	s.end(p)
	if n := len(v.points()); n != 2 {
		t.Errorf("%d points after a restart", n)
	}
}

func TestAJobThatAStopCutShortIsTriedAgainAtTheNextStart(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	policy := v.owed(blockstore.Policy{ReadRate: 64 << 10}, map[string]string{"web1": randomImage(t, "a.raw", 4<<10)})
	s := newService(t, v, "jobs: {shutdown-limit: 0s}\n")
	runs := func() bool {
		list := s.jobs("backup")
		return len(list) > 0 && list[0].State == "running"
	}
	for attempt, kill := range []bool{false, true} {
		p := s.begin()
		eventually(t, "a backup runs", runs)
		if j := s.jobs("backup")[0]; j.Attempt != attempt+1 {
			t.Errorf("%+v", j)
		}
		if kill {
			p.signal(syscall.SIGKILL)
			p.wait()
		} else {
			s.end(p)
		}
	}
	policy.ReadRate = 0
	v.owed(policy, nil)
	p := s.begin()
	eventually(t, "the backup is made", func() bool { return s.jobs("backup")[0].State == "completed" })
	list := s.jobs("backup")
	if len(list) != 3 || list[0].Attempt != 3 || list[0].RetryOf != list[1].ID || list[1].State != "interrupted" || list[2].State != "interrupted" {
		t.Errorf("%+v", list)
	}
	s.end(p)
	v.must(0, "check", "--data")
}

// TestADaemonGoesOnAfterItLentAVault has commands borrow a vault, one of which is killed, and jobs follow.
func TestADaemonGoesOnAfterItLentAVault(t *testing.T) {
	t.Parallel()
	s := newService(t, newVault(t), "")
	p := s.begin()
	image := randomImage(t, "web1", 16)
	s.must(0, "backup", "web1", "--disk", "vda="+image)
	s.must(0, "vault", "rebuild-index")
	s.must(0, "backup", "web1", "--disk", "vda="+image)
	borrower := s.lends()
	waits := &running{t: t, cmd: s.command("backup", "web1", "--disk", "vda="+image)}
	waits.cmd.Stdout, waits.cmd.Stderr = &waits.out, &waits.err
	if err := waits.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the job waits for the vault", func() bool {
		list := s.jobs("backup")
		return len(list) == 3 && list[0].State == "queued"
	})
	borrower.Close()
	waits.expect(0)
	s.must(0, "vault", "rebuild-index")
	s.end(p)
	if n := len(s.points()); n != 3 {
		t.Errorf("%d points", n)
	}
}

// lends has the vault lent until the connection is closed.
func (s *service) lends() net.Conn {
	s.t.Helper()
	c, err := net.Dial("unix", filepath.Join(s.run, "api.sock"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "POST /api/v1/vaults/%s/lend HTTP/1.1\r\nHost: holdfast\r\nContent-Length: 0\r\n\r\n", filepath.Base(s.path))
	answer := make([]byte, 1024)
	if n, err := c.Read(answer); err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 200") {
		s.t.Fatalf("%q, %v", answer[:n], err)
	}
	return c
}
