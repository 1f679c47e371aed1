package integration

import (
	"bufio"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// twoDisks are a machine that is off: a raw and a qcow2 image with a day between two points.
type twoDisks struct {
	vault
	vda, vdb   string // raw, qcow2
	first, now [2]string
}

func newTwoDisks(t *testing.T, mib int) *twoDisks {
	t.Helper()
	needs.Tools(t, "qemu-img", "qemu-nbd", "qemu-io")
	m := &twoDisks{vault: newVault(t), vda: noisyImage(t, 7, mib), vdb: filepath.Join(t.TempDir(), "vdb.qcow2")}
	tool(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", noisyImage(t, 8, mib), m.vdb)
	m.backUp()
	m.first = m.hashes()
	rng := newRand(t)
	change(t, m.vda, rng, 60)
	m.changeQcow2(rng, 60, mib)
	m.now = m.hashes()
	return m
}

func (m *twoDisks) backUp() {
	m.t.Helper()
	m.must(0, "backup", "web1", "--min-free=none", "--disk", "vda="+m.vda, "--disk", "vdb="+m.vdb+",format=qcow2")
}

func (m *twoDisks) changeQcow2(rng *rand.Rand, n, mib int) {
	m.t.Helper()
	args := []string{"-f", "qcow2"}
	for range n {
		args = append(args, "-c", "write -q -P 77 "+itoa(rng.IntN(mib<<20-100*512)/512*512)+" "+itoa(512*(1+rng.IntN(100))))
	}
	tool(m.t, append(append([]string{"qemu-io"}, args...), m.vdb)...)
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

// hashes are of what the guest would read.
func (m *twoDisks) hashes() (h [2]string) {
	m.t.Helper()
	h[0] = hashFile(m.t, m.vda)
	raw := filepath.Join(m.t.TempDir(), "vdb.raw")
	tool(m.t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", m.vdb, raw)
	defer os.Remove(raw)
	h[1] = hashFile(m.t, raw)
	tool(m.t, "qemu-img", "check", "-q", "-f", "qcow2", m.vdb)
	return h
}

func (m *twoDisks) want(what string, want [2]string) {
	m.t.Helper()
	if got := m.hashes(); got != want {
		m.t.Errorf("%s: the images are not what they should be: %v", what, [2]bool{got[0] == want[0], got[1] == want[1]})
	}
	for _, path := range []string{m.vda, m.vdb} {
		left, _ := filepath.Glob(path + ".*")
		hidden, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
		if len(left)+len(hidden) > 0 {
			m.t.Errorf("%s: left behind: %v %v", what, left, hidden)
		}
	}
}

func TestAMachineGoesBackInPlaceAndForthAgain(t *testing.T) {
	t.Parallel()
	m := newTwoDisks(t, 40)
	o := m.must(0, "restore", "web1@latest", "--in-place", "--yes", "--min-free=none", "--json", "--verify")
	var said struct {
		Before string
		Disks  []struct {
			Written  int64
			Verified bool
		}
	}
	if err := json.Unmarshal([]byte(o.out), &said); err != nil {
		t.Fatal(err, o.out)
	}
	m.want("back", m.first)
	for _, d := range said.Disks {
		if d.Written == 0 || d.Written > 16<<20 || !d.Verified {
			t.Errorf("%d bytes were written for 60 changes, verified: %v", d.Written, d.Verified)
		}
	}
	if points := m.points("web1"); len(points) != 2 || points[1].ID != said.Before {
		t.Errorf("the present state is not the newest point: %+v, %s", points, said.Before)
	}
	// Without a point of the present state the images are read; only what differs is written.
	m.must(0, "restore", "web1@"+said.Before, "--in-place", "--no-safety-point", "--yes")
	m.want("forth", m.now)
	o = m.must(0, "restore", "web1@"+said.Before, "--in-place", "--no-safety-point", "--yes")
	if strings.Count(o.out, "0 B written") != 2 {
		t.Errorf("what is right already is written again: %s", o.out)
	}
	m.must(0, "check", "--data")
}

// TestAMachineThatRunsIsNotRestoredInPlace has a real QEMU with the images, without a guest.
func TestAMachineThatRunsIsNotRestoredInPlace(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-system-x86_64")
	m := newTwoDisks(t, 20)
	stop, runs := m.startQEMU()
	for _, disk := range []string{"vda", "vdb"} {
		o := m.run("restore", "web1@latest", "--in-place", "--yes", "--min-free=none", "--disk", disk)
		if o.code != 5 || !strings.Contains(o.err, "shut the machine down first") {
			t.Fatalf("disk %s, of a machine that runs (%v): exit code %d, want 5\n%s%s", disk, runs(), o.code, o.out, o.err)
		}
	}
	stop()
	m.want("refused", m.now)
	if n := len(m.points("web1")); n != 1 {
		t.Errorf("%d points", n)
	}
}

// startQEMU starts a machine without a guest from both images.
func (m *twoDisks) startQEMU() (stop func(), runs func() bool) {
	m.t.Helper()
	cmd, said, err := m.tryQEMU()
	if err != nil {
		m.t.Fatalf("%v: %s", err, said)
	}
	return func() { cmd.Process.Kill(); cmd.Wait() }, func() bool { return !over(cmd) }
}

// tryQEMU starts a machine, and returns an error with what it said if it ends before its
// monitor obeys, which it does once all disks are open.
func (m *twoDisks) tryQEMU() (*exec.Cmd, string, error) {
	m.t.Helper()
	socket := filepath.Join(m.t.TempDir(), "qmp")
	var said strings.Builder
	cmd := exec.Command("qemu-system-x86_64", "-machine", "pc,accel=tcg", "-m", "32", "-nodefaults", "-display", "none", "-S",
		"-qmp", "unix:"+socket+",server=on,wait=off",
		"-drive", "if=virtio,format=raw,file="+m.vda, "-drive", "if=virtio,format=qcow2,file="+m.vdb)
	cmd.Stderr = &said
	cmd.SysProcAttr = endsWithUs()
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { cmd.Process.Kill() })
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.SetDeadline(deadline)
			q := &monitor{m.t, conn, bufio.NewReader(conn)}
			_, err := q.in.ReadBytes('\n')
			if err == nil {
				err = errors.Join(q.try("qmp_capabilities", nil, nil), q.try("query-block", nil, nil))
			}
			conn.Close()
			if err == nil {
				return cmd, "", nil
			}
		}
		if over(cmd) {
			err := cmd.Wait()
			return nil, said.String(), errors.Join(errors.New("it ended"), err)
		}
	}
	m.t.Fatal("QEMU neither answers nor ends")
	return nil, "", nil
}

// TestARestoreInPlaceThatIsKilledIsFinishedByTheNext kills it at random, over and over; no QEMU
// starts in between, and in the end both images are right.
func TestARestoreInPlaceThatIsKilledIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	m := newTwoDisks(t, 40)
	m.backUp()
	points := m.points("web1")
	rng := newRand(t)
	ids := map[bool]string{false: points[0].ID, true: points[1].ID}
	wants := map[bool][2]string{false: m.first, true: m.now}
	half, to := 0, false
	for range 24 {
		if rng.IntN(3) == 0 { // else it goes on with what is there
			to = !to
		}
		left, _ := filepath.Glob(filepath.Dir(m.vdb) + "/*.holdfast-restoring")
		words := []string{"restore", "web1@" + ids[to], "--in-place", "--yes", "--min-free=none"}
		if rng.IntN(2) == 0 {
			words = append(words, "--no-safety-point")
		}
		p := m.start(words...)
		eventually(t, "it is under way, or over", func() bool {
			hidden, _ := filepath.Glob(filepath.Dir(m.vdb) + "/*.holdfast-restoring")
			return len(hidden) > 0 || p.ended()
		})
		if len(left) > 0 {
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		}
		time.Sleep(time.Duration(rng.IntN(40)) * time.Millisecond)
		p.signal(syscall.SIGKILL)
		p.wait()
		hidden, _ := filepath.Glob(filepath.Dir(m.vda) + "/*.holdfast-restoring")
		more, _ := filepath.Glob(filepath.Dir(m.vdb) + "/*.holdfast-restoring")
		if len(hidden)+len(more) == 0 {
			continue
		}
		half++
		if cmd, _, err := m.tryQEMU(); err == nil {
			cmd.Process.Kill()
			t.Fatal("a machine started from images that are half restored")
		}
	}
	t.Logf("%d of 24 were killed half-way", half)
	for _, to := range []bool{false, true} {
		var o outcome
		eventually(t, "the child of the one that was killed has let go", func() bool {
			o = m.run("restore", "web1@"+ids[to], "--in-place", "--yes", "--no-safety-point", "--verify")
			return o.code != 5
		})
		if o.code != 0 {
			t.Fatalf("exit code %d: %s", o.code, o.err)
		}
		m.want("finished", wants[to])
	}
}

// TestAnInterruptedRestoreSaysSoAndLatestMeansWhatItDid stops one in the middle, and finishes
// it by the same words, although the newest point is by then the one made of what was there.
func TestAnInterruptedRestoreSaysSoAndLatestMeansWhatItDid(t *testing.T) {
	t.Parallel()
	m := newTwoDisks(t, 40)
	rng := newRand(t)
	for range 20 {
		p := m.start("restore", "web1@latest", "--in-place", "--yes", "--min-free=none")
		eventually(t, "it is under way, or over", func() bool {
			hidden, _ := filepath.Glob(filepath.Dir(m.vdb) + "/*.holdfast-restoring")
			return len(hidden) > 0 || p.ended()
		})
		time.Sleep(time.Duration(rng.IntN(5)) * time.Millisecond)
		p.signal(syscall.SIGINT)
		o := p.wait()
		if o.code == 0 {
			m.want("not interrupted in time", m.first)
			m.must(0, "restore", "web1@"+m.points("web1")[len(m.points("web1"))-1].ID, "--in-place", "--yes", "--min-free=none", "--no-safety-point")
			m.must(0, "point", "delete", "web1@latest")
			m.want("forth", m.now)
			continue
		}
		if o.code != 130 || !strings.Contains(o.err, "interrupted") {
			t.Fatalf("exit code %d: %s", o.code, o.err)
		}
		if strings.Contains(o.err, "half restored") {
			o = m.must(0, "restore", "web1@latest", "--in-place", "--yes", "--min-free=none")
			if !strings.Contains(o.err, "`latest` means "+m.points("web1")[0].ID) {
				t.Errorf("it is not said which point is meant: %s", o.err)
			}
			m.want("in the end", m.first)
			return
		}
		m.want("interrupted before anything was written", m.now)
		if len(m.points("web1")) > 1 { // what was there is the newest point already
			m.must(0, "point", "delete", "web1@latest")
		}
	}
	t.Log("it was never interrupted half-way")
}
