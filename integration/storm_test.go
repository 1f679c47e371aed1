package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// promised is a point that a command was told to be made, with the hash of its disk.
type promised struct{ machine, id, hash string }

// TestADaemonKilledInAStormKeepsEveryPointThatItPromised kills the daemon at random while clients back up,
// prune, delete, sweep and check through it. HOLDFAST_STORM says how many times; the seed is
// printed.
func TestADaemonKilledInAStormKeepsEveryPointThatItPromised(t *testing.T) {
	t.Parallel()
	rounds := 3
	if n, err := strconv.Atoi(os.Getenv("HOLDFAST_STORM")); err == nil {
		rounds = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	v := newVault(t)
	v.owed(blockstore.Policy{Machines: []string{"p*"}, Keep: blockstore.Keep{Last: 4}}, map[string]string{"p1": randomImage(t, "p1", 512), "p2": randomImage(t, "p2", 512)})
	s := newService(t, v, "jobs: {at-once: 3}\n")
	storm := s.storm(rnd.Uint64())
	for range rounds {
		p := s.begin()
		time.Sleep(time.Duration(300+rnd.IntN(1200)) * time.Millisecond)
		p.signal(syscall.SIGKILL)
		p.wait()
	}
	p := s.begin()
	made := storm()
	s.must(0, "backup", "last", "--disk", "vda="+randomImage(t, "last", 64))
	s.end(p)
	v.must(0, "check", "--data")
	there := map[string]bool{}
	for _, q := range v.points() {
		there[q.ID] = true
	}
	if len(made) == 0 {
		t.Error("no point was made")
	}
	for _, q := range made {
		if !there[q.id] {
			t.Errorf("point %s of %s was promised and is not there", q.id, q.machine)
		} else if got := v.restored(q.machine, q.id); got != q.hash {
			t.Errorf("point %s of %s comes back otherwise", q.id, q.machine)
		}
	}
	for _, kind := range []string{"backup", "sweep", "prune", "check"} {
		for _, j := range s.jobs(kind) {
			if j.State == "queued" || j.State == "running" {
				t.Errorf("job %+v is not over", j)
			}
		}
	}
}

// storm has clients work whenever the daemon is there; end ends that, and returns what they were
// promised. Of a job that they follow they ask the next daemon.
func (s *service) storm(seed uint64) (end func() []promised) {
	var g sync.WaitGroup
	var over atomic.Bool
	var mu sync.Mutex
	var made []promised
	// A client that waits for a daemon to come back is not waited for, and promises nothing.
	runs := func(args ...string) outcome {
		p := &running{t: s.t, cmd: s.command(args...)}
		p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = &p.out, &p.err, time.Second
		if err := p.cmd.Start(); err != nil {
			return outcome{code: -1}
		}
		late := time.AfterFunc(30*time.Second, func() { p.cmd.Process.Kill() })
		defer late.Stop()
		p.cmd.Wait()
		return outcome{p.out.String(), p.err.String(), p.cmd.ProcessState.ExitCode()}
	}
	again := func() bool { // when the daemon answers
		for ; !over.Load(); time.Sleep(10 * time.Millisecond) {
			if c, err := net.Dial("unix", filepath.Join(s.run, "api.sock")); err == nil {
				c.Close()
				return true
			}
		}
		return false
	}
	for n := range 3 {
		machine := fmt.Sprintf("m%d", n)
		image := randomImage(s.t, machine, 256+64*n)
		hash := hashFile(s.t, image)
		g.Go(func() {
			for again() {
				o := runs("backup", machine, "--disk", "vda="+image, "--json", "--no-wait")
				var b struct{ Point struct{ ID string } }
				if json.Unmarshal([]byte(o.out), &b) == nil && b.Point.ID != "" && (o.code == 0 || o.code == 3) {
					mu.Lock()
					made = append(made, promised{machine, b.Point.ID, hash})
					mu.Unlock()
				}
			}
		})
	}
	g.Go(func() {
		rnd := rand.New(rand.NewPCG(seed, 2))
		for again() {
			runs([][]string{{"prune", "--no-wait"}, {"sweep", "--now", "--no-wait"}, {"check"}, {"point", "delete", "p1@latest", "--no-wait"}, {"sweep", "--no-wait"}}[rnd.IntN(5)]...)
		}
	})
	return func() []promised {
		promises := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(made)
		}
		for begun := time.Now(); promises() == 0 && time.Since(begun) < 2*time.Minute; { // a slow machine makes none between two kills
			time.Sleep(10 * time.Millisecond)
		}
		over.Store(true)
		g.Wait()
		return made
	}
}
