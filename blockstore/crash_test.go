package blockstore

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// childEnv makes the test binary a process that backs up and dies.
const childEnv = "HOLDFAST_BLOCKSTORE_CHILD"

func TestMain(m *testing.M) {
	if order := os.Getenv(childEnv); order != "" {
		os.Exit(childMain(order))
	}
	if order := os.Getenv(simEnv); order != "" {
		if err := simChild(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// childOrder says what a child does.
type childOrder struct {
	Dir      string
	Seed     uint64
	Machines int
	Rounds   int    // backups of each machine
	DieAt    string // event
	Nth      int32  // which one of these
	Read     bool   // list and read until standard input ends, instead of backing up
	Rebuild  bool   // make the index anew, instead of backing up
	Sweep    bool   // drop all that is in the trash and sweep, instead of backing up
}

func childMain(text string) int {
	var order childOrder
	err := json.Unmarshal([]byte(text), &order)
	if err == nil && order.Read {
		err = childReads(order)
	} else if err == nil && order.Rebuild {
		err = RebuildIndex(context.Background(), order.Dir, order.options(), nil)
	} else if err == nil && order.Sweep {
		err = childSweeps(order)
	} else if err == nil {
		err = childBacksUp(order)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// crashPackBytes makes packs small enough that a backup fills several.
const crashPackBytes = 256 << 10

// options end the process where the order says.
func (order childOrder) options() OwnOptions {
	seen := new(atomic.Int32)
	return OwnOptions{MinFree: -1, Event: func(name string) {
		if name == order.DieAt && seen.Add(1) == order.Nth {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // nothing happens after this moment
		}
	}}
}

func childBacksUp(order childOrder) error {
	ctx := context.Background()
	o, err := Own(ctx, order.Dir, order.options())
	if err != nil {
		return err
	}
	o.store.packBytes = crashPackBytes
	var wg sync.WaitGroup
	errs := make([]error, order.Machines)
	for m := range order.Machines {
		wg.Go(func() { errs[m] = childMachine(ctx, o, order, m) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return o.Close()
}

// childMachine backs one machine up, round after round, and says so.
func childMachine(ctx context.Context, o *Owner, order childOrder, m int) error {
	for round := range order.Rounds {
		p, err := backUpSelfTold(ctx, o, fmt.Sprintf("vm%d", m), crashDisk(order.Seed, m, round))
		if err != nil {
			return err
		}
		fmt.Printf("committed %s\n", p.ID)
	}
	return nil
}

// crashDisk is what a machine's disk holds in a round: half new, and some of it
// the same for all machines.
func crashDisk(seed uint64, m, round int) []byte {
	disk := make([]byte, 1<<20)
	fill := func(at, n int, seed uint64) {
		r := rand.New(rand.NewPCG(seed, uint64(at)))
		for i := range disk[at : at+n] {
			disk[at+i] = byte(r.Uint32())
		}
	}
	fill(0, 300<<10, seed)                               // never changes
	fill(300<<10, 200<<10, seed+uint64(round)+1)         // all machines
	fill(600<<10, 300<<10, seed+uint64(round*100+m)+1e6) // its own
	return disk
}

// backUpSelfTold makes a point that says itself what its disk's hash is.
func backUpSelfTold(ctx context.Context, o *Owner, machine string, disk []byte) (*Point, error) {
	sum := sha256.Sum256(disk)
	b, err := o.Begin(ctx, BackupOptions{Machine: machine, Time: time.Now(), Asked: Crash, Reached: Crash, Tool: hex.EncodeToString(sum[:])})
	if err != nil {
		return nil, err
	}
	defer b.Abort()
	if err := b.AddDisk(ctx, DiskInfo{Name: "vda", Format: "raw"}, memory(disk), nil); err != nil {
		return nil, err
	}
	return b.Commit(ctx)
}

// mustTellTheTruth compares every listed point with the hash that it carries,
// and returns them by id.
func mustTellTheTruth(t *testing.T, v *Vault) map[PointID]*Point {
	t.Helper()
	points, err := v.Points(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byID := map[PointID]*Point{}
	for _, p := range points {
		sum := sha256.Sum256(readDisk(t, v, p, "vda"))
		if hex.EncodeToString(sum[:]) != p.Tool {
			t.Errorf("point %s of %s differs from what was backed up", p.ID, p.MachineName)
		}
		byID[p.ID] = p
	}
	return byID
}

func childCommand(t testing.TB, order childOrder) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(order)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	return cmd
}

// stderrOf is what a child that failed said.
func stderrOf(err error) []byte {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.Stderr
	}
	return nil
}

// acknowledged are the points that a child said it committed.
func acknowledged(out []byte) (ids []PointID) {
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "committed "); ok {
			ids = append(ids, PointID(id))
		}
	}
	return ids
}

func temps(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".tmp-") {
			found = append(found, p)
		}
		return nil // files of an index come and go
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// crashed is a vault whose owners die.
type crashed struct {
	t     *testing.T
	dir   string
	known map[PointID]bool // listed or acknowledged once
}

// survives looks at a vault whose owner just died, as a reader does, and then
// as the next owner.
func (c *crashed) survives(out []byte) {
	t := c.t
	t.Helper()
	for _, id := range acknowledged(out) {
		c.known[id] = true
	}
	v, err := Open(t.Context(), c.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	mustCheck(t, v)
	points := mustTellTheTruth(t, v)
	for id := range c.known {
		if points[id] == nil {
			t.Errorf("point %s was there, and is gone", id)
		}
	}
	for id := range points {
		c.known[id] = true
	}
	o := ownVault(t, c.dir, OwnOptions{})
	defer o.Close()
	if left := temps(t, c.dir); len(left) > 0 {
		t.Errorf("left after the next owner came: %v", left)
	}
	mustCheck(t, o.Vault)
	points = mustTellTheTruth(t, o.Vault)
	for id := range c.known {
		if points[id] == nil {
			t.Errorf("point %s is gone since the next owner came", id)
		}
	}
}

// tryAgain backs up what the owner that died was at, and returns the bytes
// that had to be stored.
func (c *crashed) tryAgain(disk []byte) int64 {
	c.t.Helper()
	o := ownVault(c.t, c.dir, OwnOptions{})
	defer o.Close()
	p, err := backUpSelfTold(c.t.Context(), o, "vm0", disk)
	if err != nil {
		c.t.Fatal(err)
	}
	c.known[p.ID] = true
	mustCheck(c.t, o.Vault)
	return p.Sizes.Stored
}

func TestAnOwnerKilledAtAnyMomentOfWritingLeavesAWholeVault(t *testing.T) {
	for _, event := range []string{"claimed", "pack.written", "pack.sealed", "pack.indexed", "segment.writing", "segment.written",
		"point.written", "point.committed", "segments.merged", "close"} {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			c := &crashed{t: t, dir: vaultIn(t, 16<<10), known: map[PointID]bool{}}
			for nth := range int32(2) {
				order := childOrder{Dir: c.dir, Seed: uint64(nth), Machines: 2, Rounds: 5, DieAt: event, Nth: nth + 1}
				if event == "segments.merged" {
					order.Rounds = 30
				}
				if event == "claimed" || event == "close" {
					order.Nth, order.Rounds = 1, 1
				}
				out, err := childCommand(t, order).Output()
				if err == nil || !strings.Contains(err.Error(), "killed") {
					t.Fatalf("the child was not killed: %v: %s", err, stderrOf(err))
				}
				c.survives(out)
			}
		})
	}
}

func TestPacksSealedBeforeAKillAreUsedByTheNextBackup(t *testing.T) {
	for _, event := range []string{"segment.writing", "segment.written", "point.written"} {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			c := &crashed{t: t, dir: vaultIn(t, 16<<10), known: map[PointID]bool{}}
			if _, err := childCommand(t, childOrder{Dir: c.dir, Seed: 9, Machines: 1, Rounds: 1, DieAt: event, Nth: 1}).Output(); err == nil {
				t.Fatal("the child was not killed")
			}
			if stored := c.tryAgain(crashDisk(9, 0, 0)); stored != 0 {
				t.Errorf("%d bytes were stored again", stored)
			}
		})
	}
}

func TestAnOwnerKilledAtARandomMomentLeavesAWholeVault(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i := range uint64(2) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, i))
			c := &crashed{t: t, dir: vaultIn(t, 16<<10), known: map[PointID]bool{}}
			for range 4 {
				cmd := childCommand(t, childOrder{Dir: c.dir, Seed: r.Uint64(), Machines: 3, Rounds: 100})
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, os.Stderr
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Duration(r.Int64N(int64(400 * time.Millisecond))))
				cmd.Process.Kill()
				cmd.Wait()
				c.survives(out.Bytes())
			}
		})
	}
}

// childReads lists and reads points until its standard input ends.
func childReads(order childOrder) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		bufio.NewReader(os.Stdin).ReadByte()
		cancel()
	}()
	rounds := 0
	for ; ctx.Err() == nil || rounds == 0; rounds++ {
		if err := readEverything(order.Dir); err != nil {
			return err
		}
	}
	fmt.Printf("read %d times\n", rounds)
	return nil
}

// readEverything opens a vault and compares its points with the hashes that
// they carry.
func readEverything(dir string) error {
	v, err := Open(context.Background(), dir, Options{})
	if err != nil {
		return err
	}
	defer v.Close()
	for range 3 {
		if err := compareAll(v); err != nil {
			return err
		}
	}
	return nil
}

// compareAll compares the newest points with the hashes that they carry.
func compareAll(v *Vault) error {
	points, err := v.Points(context.Background())
	if err != nil {
		return err
	}
	for _, p := range points[max(0, len(points)-10):] {
		d, err := v.OpenDisk(p, "vda")
		if err != nil {
			return err
		}
		b := make([]byte, d.Size())
		if _, err := d.ReadAt(b, 0); err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		if hex.EncodeToString(sum[:]) != p.Tool {
			return fmt.Errorf("point %s of %s differs from what was backed up", p.ID, p.MachineName)
		}
	}
	return nil
}
