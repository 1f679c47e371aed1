package blockstore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// tortureTime is how long random work goes on: HOLDFAST_TORTURE, or less.
func tortureTime(t *testing.T) time.Duration {
	t.Helper()
	if s := os.Getenv("HOLDFAST_TORTURE"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("HOLDFAST_TORTURE: %v", err)
		}
		return d
	}
	if os.Getenv("HOLDFAST_CI") != "" {
		return 80 * time.Second
	}
	return 6 * time.Second
}

// tortureSeed is new each time, or HOLDFAST_SEED.
func tortureSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("HOLDFAST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("HOLDFAST_SEED: %v", err)
		}
	}
	t.Logf("HOLDFAST_SEED=%d", seed)
	return seed
}

// TestTortureAVaultAgreesWithAPlainModelWhateverHappens does random work on a vault, in this
// process and in ones that are killed, damages single files, and holds all that it
// reads against a plain list of what should be there. Each vault's life has a seed of
// its own, which HOLDFAST_SEED repeats: what is done, and where children die, follows
// from it; how goroutines take turns does not.
func TestTortureAVaultAgreesWithAPlainModelWhateverHappens(t *testing.T) {
	end := time.Now().Add(tortureTime(t))
	for seed := tortureSeed(t); ; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { newSimulation(t, seed).run(end) })
		if t.Failed() || !time.Now().Before(end) {
			return
		}
	}
}

// simulation is the life of one vault.
type simulation struct {
	t     *testing.T
	dir   string
	r     *rand.Rand
	model *model
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	return &simulation{t: t, dir: vaultIn(t, sampleBlock), r: rand.New(rand.NewPCG(seed, 0)),
		model: &model{points: map[PointID]*simPoint{}, machines: map[MachineID]*simMachine{}}}
}

func (s *simulation) run(end time.Time) {
	defer func() {
		if s.t.Failed() {
			s.t.Logf("what happened:\n%s", strings.Join(s.model.told, "\n"))
		}
	}()
	for turn := 0; turn < 40 && !s.t.Failed() && (turn < 3 || time.Now().Before(end)); turn++ {
		switch n := s.r.IntN(10); {
		case n < 4:
			s.work()
		case n < 8:
			s.kill()
		case n < 9:
			s.damage()
		default:
			s.spoil()
		}
		s.tell("-- turn %d", turn)
	}
	s.sweepAll()
}

// own opens the vault at the time of the simulation.
func (s *simulation) own() *Owner {
	s.t.Helper()
	ahead := s.model.ahead
	return ownVault(s.t, s.dir, OwnOptions{Options: Options{Warn: func(string) {}},
		Clock: func() time.Time { return time.Now().Add(ahead) }})
}

func (s *simulation) tell(format string, args ...any) {
	s.model.told = append(s.model.told, fmt.Sprintf(format, args...))
}

func (s *simulation) hear(line string) {
	if err := s.model.hear(line); err != nil {
		s.t.Error(err)
	}
}

func (s *simulation) actor() *actor {
	return &actor{dir: s.dir, ahead: s.model.ahead, opts: OwnOptions{MinFree: -1, Options: Options{Warn: func(string) {}}},
		say: func(format string, args ...any) { s.hear(fmt.Sprintf(format, args...)) }}
}

// work lets an owner of this process do some things, while another vault of
// the same folder is read as another process would.
func (s *simulation) work() {
	t := s.t
	a := s.actor()
	if err := a.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader, err := Open(t.Context(), s.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for range 1 + s.r.IntN(8) {
		stop := s.readMeanwhile(a, reader)
		err := a.step(t.Context(), rand.New(rand.NewPCG(s.r.Uint64(), 0)))
		stop()
		if err != nil {
			t.Error(err)
			break
		}
		if s.r.IntN(3) == 0 {
			s.model.compare(t, reader, "in another vault of this process", true)
			mustCheck(t, reader)
		}
	}
	s.model.compare(t, a.o.Vault, "in the owner", true)
	if err := a.o.Close(); err != nil {
		t.Error(err)
	}
	s.look("after a clean end")
}

// readMeanwhile reads one point over and over, which is not deleted meanwhile.
func (s *simulation) readMeanwhile(a *actor, v *Vault) (stop func()) {
	points, err := v.Points(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if len(points) == 0 {
		return func() {}
	}
	p := points[s.r.IntN(len(points))]
	a.spare = p.ID
	ctx, cancel := context.WithCancel(s.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			d, err := v.OpenDisk(p, "vda")
			b := make([]byte, p.Disks[0].Size)
			if err == nil {
				_, err = d.ReadAt(b, 0)
			}
			if err != nil || sumOf(b) != p.Tool {
				s.t.Errorf("point %s, read while others work: %v", p.ID, err)
				return
			}
			v.blocks.Purge()
			v.pages.Purge()
		}
	})
	return func() { cancel(); wg.Wait(); a.spare = "" }
}

// look opens the vault as a reader, and finds everything as it should be.
func (s *simulation) look(when string) {
	s.t.Helper()
	v, err := Open(s.t.Context(), s.dir, Options{})
	if err != nil {
		s.t.Fatalf("%s: %v", when, err)
	}
	defer v.Close()
	s.model.compare(s.t, v, when, false)
	mustCheck(s.t, v)
}

// simEvents are the moments at which children die.
var simEvents = []string{"claimed", "pack.written", "pack.sealed", "pack.indexed", "segment.writing", "segment.written", "point.written",
	"point.committed", "segments.merged", "sweep.copied", "sweep.forgotten", "sweep.removed", "point.dropping", "point.dropped", "machine.written", "close"}

// simOrder says what a child does.
type simOrder struct {
	Dir   string
	Seed  uint64
	Steps int
	Ahead time.Duration
	DieAt string // event; "": at any instant, from outside
	Nth   int32
}

// simEnv makes the test binary such a child.
const simEnv = "HOLDFAST_BLOCKSTORE_SIMULATION"

func simChild(text string) error {
	var order simOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		return err
	}
	var seen atomic.Int32
	var mu sync.Mutex
	a := &actor{dir: order.Dir, ahead: order.Ahead, say: func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}}
	a.opts = OwnOptions{MinFree: -1, Options: Options{Warn: func(string) {}}, Event: func(name string) {
		if name == order.DieAt && seen.Add(1) == order.Nth {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // nothing happens after this moment
		}
	}}
	ctx := context.Background()
	if err := a.open(ctx); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(order.Seed, 0))
	for range order.Steps {
		if err := a.step(ctx, rand.New(rand.NewPCG(r.Uint64(), 0))); err != nil {
			return err
		}
	}
	return a.o.Close()
}

// kill lets a child work until it dies, and looks at what it leaves.
func (s *simulation) kill() {
	order := simOrder{Dir: s.dir, Seed: s.r.Uint64(), Steps: 40, Ahead: s.model.ahead}
	if s.r.IntN(3) > 0 {
		order.DieAt, order.Nth, order.Steps = simEvents[s.r.IntN(len(simEvents))], int32(1+s.r.IntN(12)), 20
	}
	wait := time.Duration(s.r.Int64N(int64(700 * time.Millisecond)))
	s.tell("child %+v", order)
	out := s.child(order, wait)
	for line := range strings.Lines(string(out)) {
		if line, whole := strings.CutSuffix(line, "\n"); whole {
			s.hear(line)
		}
	}
	s.look("after a kill")
	o := s.own()
	if _, err := o.ReleaseSweep(); err != nil { // the child died while it held the vault
		s.t.Error(err)
	}
	s.model.compare(s.t, o.Vault, "in the owner after a kill", true)
	if left := temps(s.t, s.dir); len(left) > 0 {
		s.t.Errorf("left after the next owner came: %v", left)
	}
	if err := o.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *simulation) child(order simOrder, wait time.Duration) []byte {
	text, err := json.Marshal(order)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), simEnv+"="+string(text))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, bufio.NewWriter(&errs)
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	if order.DieAt == "" {
		time.Sleep(wait)
		cmd.Process.Kill()
	}
	if err := cmd.Wait(); err != nil && !strings.Contains(err.Error(), "killed") {
		s.t.Errorf("a child failed: %v\n%s", err, errs.Bytes())
	}
	return out.Bytes()
}

// damage harms or removes one small file, or the index, and sees that nothing
// is lost by it.
func (s *simulation) damage() {
	kinds := []string{indexDir, vaultDir, segmentsDir, pointsDir, machinesDir, writersDir}
	kind := kinds[s.r.IntN(len(kinds))]
	var files []string
	filepath.WalkDir(filepath.Join(s.dir, kind), func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, p)
		}
		return nil
	})
	if len(files) == 0 || kind == vaultDir && len(s.packFiles()) == 0 { // no copy of VAULT yet
		return
	}
	slices.Sort(files)
	file := files[s.r.IntN(len(files))]
	rel, _ := filepath.Rel(s.dir, file)
	remove := s.r.IntN(2) == 0
	s.tell("damage %s, removed %t", path.Clean(rel), remove)
	if kind == machinesDir {
		s.model.machinesHarmed()
	}
	if err := harm(file, remove, s.r); err != nil {
		s.t.Fatal(err)
	}
	o := s.own()
	s.model.compare(s.t, o.Vault, "after damage to "+rel, true)
	s.sweep(o, SweepOptions{}, "after damage to "+rel)       // it reads every segment
	if err := o.history.load(s.t.Context(), o); err != nil { // as a backup does
		s.t.Error(err)
	}
	if err := o.Close(); err != nil {
		s.t.Error(err)
	}
	s.look("after damage to " + rel)
}

func harm(file string, remove bool, r *rand.Rand) error {
	if remove {
		return os.Remove(file)
	}
	b, err := os.ReadFile(file)
	if err != nil || len(b) == 0 {
		return err
	}
	b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	return os.WriteFile(file, b, 0o600)
}

// sweep lets an owner of this process sweep, and the model know.
func (s *simulation) sweep(o *Owner, opts SweepOptions, when string) {
	s.t.Helper()
	s.hear(fmt.Sprintf("sweeping %t %d", opts.Trash, o.now().UnixNano()))
	report, err := o.Sweep(s.t.Context(), opts)
	if err != nil {
		s.t.Errorf("a sweep %s: %v", when, err)
		return
	}
	for _, p := range report.Dropped {
		s.hear(fmt.Sprintf("dropped %s", p.ID))
	}
	s.hear("swept")
}

// sweepAll leaves what is named and nothing else.
func (s *simulation) sweepAll() {
	o := s.own()
	defer o.Close()
	s.sweep(o, SweepOptions{Now: true, Full: true}, "at the end")
	s.model.compare(s.t, o.Vault, "after the last sweep", true)
	mustCheck(s.t, o.Vault)
	again := &sweep{o: o, opts: SweepOptions{Now: true, Full: true, DryRun: true}, now: o.now(), report: &SweepReport{}}
	if err := again.run(s.t.Context()); err != nil {
		s.t.Error(err)
	}
	for _, u := range again.packs {
		if u.named != int(u.Records) {
			s.t.Errorf("after a sweep of everything, pack %s has %d records, of which %d are named", u.id, u.Records, u.named)
		}
	}
	if there := s.packFiles(); len(there) != len(again.packs) {
		s.t.Errorf("%d files of packs, of which sweep knows %d", len(there), len(again.packs))
	}
	if left := temps(s.t, s.dir); len(left) > 0 {
		s.t.Errorf("left after a sweep: %v", left)
	}
}

func (s *simulation) packFiles() []string {
	files, err := filepath.Glob(filepath.Join(s.dir, packsDir, "*", "*", "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	return files
}
