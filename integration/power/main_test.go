package power

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/alone"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// childEnv makes the test binary a process that serves a disk, or backs up.
const childEnv = "HOLDFAST_POWER_CHILD"

// childOrder says what a child does.
type childOrder struct {
	Mount, Image, Log string // serve a disk
	Slow              time.Duration
	Folder            string // show it at Mount, as a file server does
	Reader            string // a vault to read from while its server is stopped
	Vault             string // back up into a vault until killed
	Seed              uint64
}

func TestMain(m *testing.M) {
	text := os.Getenv(childEnv)
	if text == "" {
		if err := alone.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	var order childOrder
	err := json.Unmarshal([]byte(text), &order)
	switch {
	case err != nil:
	case order.Folder != "":
		err = showFolder(order)
	case order.Reader != "":
		err = readWhileStopped(order)
	case order.Vault != "":
		err = backUpForEver(order)
	default:
		err = Serve(order.Mount, order.Image, order.Log, order.Slow)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(t *testing.T, order childOrder) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(order)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	return cmd
}

func need(t *testing.T, tools ...string) {
	t.Helper()
	needs.Root(t)
	needs.Tools(t, tools...)
	for _, device := range []string{"/dev/fuse", "/dev/loop-control"} {
		_, err := os.Stat(device)
		needs.That(t, err == nil, "%s", device)
	}
}

// rounds is how often a test does what it does: few times, more in review, and
// as many as the torture can have.
func rounds(quick, review, torture int) int {
	switch {
	case os.Getenv("HOLDFAST_TORTURE") != "":
		return torture
	case os.Getenv("HOLDFAST_CI") != "":
		return review
	}
	return quick
}

// seeded returns chance that HOLDFAST_SEED repeats.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("HOLDFAST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("HOLDFAST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// scratch is a folder in memory where there is one.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-power-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// fileSystems are those that vaults usually lie on, and how they are made.
var fileSystems = map[string][]string{
	"ext4": {"mkfs.ext4", "-q", "-F", "-E", "nodiscard"},
	"xfs":  {"mkfs.xfs", "-q", "-f", "-K", "-l", "size=64m"},
}

// disk is a disk in memory.
type disk []byte

func (d disk) Size() int64 { return int64(len(d)) }

func (d disk) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, d[min(off, int64(len(d))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (d disk) Extents(_ context.Context, fn func(blockstore.Extent) error) error {
	return fn(blockstore.Extent{Length: int64(len(d)), Kind: blockstore.Data})
}

// change writes noise to a few places of a disk.
func change(d disk, r *rand.Rand) {
	for range 1 + r.IntN(4) {
		at := r.IntN(len(d))
		part := d[at:min(len(d), at+1+r.IntN(200<<10))]
		for i := range part {
			part[i] = byte(r.Uint32())
		}
	}
}

// backUp makes a point that says itself what its disk's hash is.
func backUp(ctx context.Context, o *blockstore.Owner, machine string, d disk) (*blockstore.Point, error) {
	sum := sha256.Sum256(d)
	b, err := o.Begin(ctx, blockstore.BackupOptions{Machine: machine, Time: time.Now(),
		Asked: blockstore.Crash, Reached: blockstore.Crash, Tool: hex.EncodeToString(sum[:])})
	if err != nil {
		return nil, err
	}
	defer b.Abort()
	if err := b.AddDisk(ctx, blockstore.DiskInfo{Name: "vda", Format: "raw"}, d, nil); err != nil {
		return nil, err
	}
	return b.Commit(ctx)
}

// verify compares a point with the hash that it carries.
func verify(v *blockstore.Vault, p *blockstore.Point) error {
	d, err := v.OpenDisk(p, "vda")
	if err != nil {
		return err
	}
	b := make([]byte, d.Size())
	if _, err := d.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != p.Tool {
		return fmt.Errorf("point %s of %s differs from what was backed up", p.ID, p.MachineName)
	}
	return nil
}

// mustBeWhole reads every point and checks the vault.
func mustBeWhole(t *testing.T, v *blockstore.Vault) (listed, trash map[blockstore.PointID]bool) {
	t.Helper()
	listed, trash = map[blockstore.PointID]bool{}, map[blockstore.PointID]bool{}
	points, err := v.Points(t.Context())
	if err != nil {
		t.Errorf("list points: %v", err)
	}
	deleted, err := v.Trash(t.Context())
	if err != nil {
		t.Errorf("list the trash: %v", err)
	}
	for _, p := range points {
		listed[p.ID] = true
	}
	for _, p := range deleted {
		trash[p.ID] = true
	}
	for _, p := range append(points, deleted...) {
		if err := verify(v, p); err != nil {
			t.Error(err)
		}
	}
	report, err := v.Check(t.Context(), blockstore.CheckOptions{Data: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Faults {
		// The one file that is written in place, and only for messages; the
		// next owner writes it anew.
		if !strings.HasSuffix(f.Where, "/OWNER") {
			t.Errorf("fault: %+v", f)
		}
	}
	return listed, trash
}

func own(t *testing.T, dir string) *blockstore.Owner {
	t.Helper()
	o, err := blockstore.Own(t.Context(), dir, blockstore.OwnOptions{MinFree: -1,
		Options: blockstore.Options{Warn: func(s string) { t.Log("warning: " + s) }}})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// goesOn takes a vault over, backs up into it, sweeps it, and looks again.
func goesOn(t *testing.T, dir string, r *rand.Rand) (listed, trash map[blockstore.PointID]bool) {
	t.Helper()
	o := own(t, dir)
	d := make(disk, 1<<20)
	change(d, r)
	if _, err := backUp(t.Context(), o, "next", d); err != nil {
		t.Errorf("the next backup: %v", err)
	}
	listed, trash = mustBeWhole(t, o.Vault)
	if _, err := o.Sweep(t.Context(), blockstore.SweepOptions{Now: true, Full: true}); err != nil {
		t.Errorf("the next sweep: %v", err)
	}
	after, _ := mustBeWhole(t, o.Vault)
	for id := range listed {
		if !after[id] {
			t.Errorf("point %s is gone since the sweep", id)
		}
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	return listed, trash
}
