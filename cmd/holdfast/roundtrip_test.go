package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// yard is a shell with a vault and a machine of two disks, backed up twice.
type yard struct {
	*shell
	dir    string
	vda    [2][]byte // as of each point
	vdb    []byte
	points []api.Point
}

// changes are the offsets at which the second point differs in one byte.
var changes = []int64{0, 5<<16 + 7, 6 << 16, 3 << 20}

func newYard(t *testing.T) *yard {
	t.Helper()
	y := &yard{shell: newShell(t), dir: t.TempDir()}
	y.env["HOLDFAST_VAULT"] = y.path("vault")
	y.must(exitDone, "vault", "create", y.path("vault")).says(t, "not encrypted")
	rng := rand.NewChaCha8([32]byte{1})
	first := make([]byte, 4<<20+512)
	rng.Read(first[:1<<20])
	rng.Read(first[3<<20:]) // a hole between
	y.vda[0], y.vdb = first, bytes.Repeat([]byte("vdb"), 100_000)
	y.vda[1] = slices.Clone(first)
	for _, off := range changes {
		y.vda[1][off] ^= 0xff
	}
	y.write("vdb.img", y.vdb)
	for _, content := range y.vda {
		y.write("vda.img", content)
		y.backup("--quiet").says(t, "made web1@")
	}
	y.points = y.list()
	if len(y.points) != 2 {
		t.Fatalf("the vault lists %d points", len(y.points))
	}
	return y
}

func (y *yard) path(name string) string { return filepath.Join(y.dir, name) }

func (y *yard) write(name string, content []byte) {
	y.t.Helper()
	if err := os.WriteFile(y.path(name), content, 0o600); err != nil {
		y.t.Fatal(err)
	}
}

func (y *yard) backup(flags ...string) outcome {
	y.t.Helper()
	return y.must(exitDone, append([]string{"backup", "web1", "--min-free=none",
		"--disk", "vda=" + y.path("vda.img"), "--disk", "vdb=" + y.path("vdb.img")}, flags...)...)
}

func (y *yard) list() []api.Point {
	y.t.Helper()
	var points []api.Point
	if err := json.Unmarshal([]byte(y.must(exitDone, "points", "--json").out), &points); err != nil {
		y.t.Fatal(err)
	}
	return points
}

// holds fails the test unless a file has this content.
func (y *yard) holds(name string, want []byte) {
	y.t.Helper()
	got, err := os.ReadFile(y.path(name))
	if err != nil {
		y.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		y.t.Errorf("%s differs from what was backed up (%d and %d bytes)", name, len(got), len(want))
	}
}

func TestPointsAreListedAndShown(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	p := y.points[1]
	if p.Machine != "web1" || p.Seq != 2 || p.Parent != y.points[0].ID || p.Consistency != "crash" || p.Sizes.Logical != 4<<20+512+300_000 {
		t.Errorf("the second point is %+v", p)
	}
	table := y.must(exitDone, "points", "web1").out
	if lines := strings.Split(table, "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "MACHINE  POINT ") || !strings.Contains(lines[2], p.ID) {
		t.Errorf("the table is\n%s", table)
	}
	y.must(exitDone, "points", "--local").says(t, "+0100")
	for _, ref := range []string{"latest", p.ID, p.ID[:17]} {
		y.must(exitDone, "point", "show", "web1@"+ref).says(t, p.ID)
	}
	shown := y.must(exitDone, "point", "show", "web1@latest")
	for _, text := range []string{"number 2", "parent", y.points[0].ID, "nobody can tell whether it was shut down cleanly", y.path("vda.img"), "vdb"} {
		shown.says(t, text)
	}
	y.must(exitUsage, "point", "show", "web1@"+p.Time.Format("2006")).says(t, y.points[0].ID)
	y.must(exitNotFound, "point", "show", "web1@1999")
	y.must(exitNotFound, "points", "wbe1").says(t, "did you mean web1?")
	y.must(exitDone, "vault", "info", "--json").says(t, `"points": 2`)
	y.must(exitDone, "vault", "info").says(t, "64 KiB")
}

func TestDiffNamesTheBlocksThatChanged(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	var d api.Diff
	o := y.must(exitDone, "diff", "web1@"+y.points[0].ID, "web1@latest", "--json")
	if err := json.Unmarshal([]byte(o.out), &d); err != nil {
		t.Fatal(err)
	}
	want := []api.Range{{Offset: 0, Length: 1 << 16}, {Offset: 5 << 16, Length: 2 << 16}, {Offset: 3 << 20, Length: 1 << 16}}
	if len(d.Disks) != 2 || !slices.Equal(d.Disks[0].Ranges, want) || len(d.Disks[1].Ranges) != 0 || d.Disks[0].Bytes != 4<<16 {
		t.Errorf("the diff is %+v", d)
	}
	y.must(exitDone, "diff", "web1@"+y.points[0].ID, "web1@latest", "--disk", "vda").says(t, "disk vda: 256 KiB differ in 3 ranges")
	y.must(exitNotFound, "diff", "web1@latest", "web1@latest", "--disk", "vdz")
}

func TestARestoreGivesBackEveryByte(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	for i, p := range y.points {
		name := fmt.Sprintf("back%d.raw", i)
		y.must(exitDone, "restore", "web1@"+p.ID, "--disk", "vda", "--to", y.path(name), "--verify", "--quiet").says(t, "verified")
		y.holds(name, y.vda[i])
		o := y.must(exitDone, "restore", "--to=-", "web1@"+p.ID, "--disk=vda", "--quiet")
		if o.out != string(y.vda[i]) {
			t.Error("standard output differs from what was backed up")
		}
	}
	y.must(exitDone, "restore", "web1@latest", "--to", y.path("new")+"/")
	y.holds("new/vda.raw", y.vda[1])
	y.holds("new/vdb.raw", y.vdb)
	y.must(exitDone, "restore", "web1@latest", "--disk", "vda="+y.path("a"), "--disk", "vdb="+y.path("b"), "--json", "--mode", "0640").says(t, `"damaged": []`)
	y.holds("a", y.vda[1])
	y.holds("b", y.vdb)
	if info, err := os.Stat(y.path("a")); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestARestoreThatIsNotClearIsRefused(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.write("there", []byte("precious"))
	y.must(exitFailed, "restore", "web1@latest", "--disk", "vda", "--to", y.path("there")).says(t, "--force")
	y.holds("there", []byte("precious"))
	y.must(exitUsage, "restore", "web1@latest", "--to", y.path("x")).says(t, "2 disks (vda, vdb)")
	y.must(exitUsage, "restore", "web1@latest", "--to", "-").says(t, "2 disks (vda, vdb)")
	y.must(exitNotFound, "restore", "web1@latest", "--disk", "vdc", "--to", y.path("x")).says(t, "the point has vda, vdb")
	y.must(exitUsage, "restore", "web1@latest", "--disk", "vda", "--to", y.path("there"), "--device").says(t, "no target is a block device")
	y.must(exitUsage, "restore", "web1@latest", "--disk", "vda=-", "--disk", "vdb=-").says(t, "only one disk")
	y.must(exitUsage, "restore", "web1@latest", "--disk", "vda="+y.dir).says(t, "name a file in it")
	if _, err := os.Stat(y.path("x")); err == nil {
		t.Error("a restore that was refused left a file")
	}
	y.must(exitDone, "restore", "web1@latest", "--disk", "vda", "--to", y.path("there"), "--force")
	y.holds("there", y.vda[1])
}

func TestASoundVaultHasNoFaultsAndADamagedOneSaysWhatItHarms(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.must(exitDone, "check").says(t, "no faults")
	y.must(exitDone, "check", "--data").says(t, "no faults")
	y.damage()
	o := y.must(exitDamaged, "check", "--data")
	o.says(t, "harms machine web1, point "+y.points[0].ID+", disk vda")
	var c api.Check
	if err := json.Unmarshal([]byte(y.must(exitDamaged, "check", "--data", "--json").out), &c); err != nil || len(c.Faults) == 0 {
		t.Errorf("%+v, %v", c, err)
	}
	y.must(exitDamaged, "restore", "web1@"+y.points[0].ID, "--disk", "vda", "--to", y.path("x")).says(t, "offset")
	if _, err := os.Stat(y.path("x")); err == nil {
		t.Error("a restore that failed left a file")
	}
	y.must(exitDamaged, "restore", "web1@"+y.points[0].ID, "--disk", "vda", "--to", y.path("x"), "--skip-damaged").says(t, "damaged: disk vda, offset ")
	y.must(exitDamaged, "restore", "web1@"+y.points[0].ID, "--disk", "vda", "--to", y.path("x"), "--skip-damaged", "--force").says(t, "hint: another point of the machine")
	if info, err := os.Stat(y.path("x")); err != nil || info.Size() != 4<<20+512 {
		t.Errorf("what could be saved was not: %v", err)
	}
}

// damage flips a byte in the middle of the largest pack.
func (y *yard) damage() {
	y.t.Helper()
	var largest string
	var size int64
	filepath.WalkDir(y.path("vault/packs"), func(path string, d fs.DirEntry, err error) error {
		if info, e := d.Info(); err == nil && e == nil && !d.IsDir() && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	})
	b, err := os.ReadFile(largest)
	if err != nil {
		y.t.Fatal(err)
	}
	b[len(b)/4] ^= 1
	if err := os.WriteFile(largest, b, 0o600); err != nil {
		y.t.Fatal(err)
	}
}

func TestABackupSkipsWhatWasNotTouchedWhenAsked(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	time.Sleep(100 * time.Millisecond) // files written to a moment ago are not trusted to be at rest
	y.backup()
	o := y.backup("--skip-unchanged", "--json")
	var b api.Backup
	if err := json.Unmarshal([]byte(o.out), &b); err != nil || len(b.Skipped) != 2 || b.Point.Sizes.Changed != 0 {
		t.Errorf("%v in %s", err, o.out)
	}
	y.must(exitDone, "restore", "web1@latest", "--disk", "vda", "--to", y.path("back"))
	y.holds("back", y.vda[1])
}

func TestAQcow2ImageComesBackAsOne(t *testing.T) {
	t.Parallel()
	qemuImg := needs.Tool(t, "qemu-img")
	y := newYard(t)
	img := y.path("vda.qcow2")
	if out, err := exec.Command(qemuImg, "convert", "-f", "raw", "-O", "qcow2", y.path("vda.img"), img).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	y.must(exitFailed, "backup", "q1", "--min-free=none", "--disk", "vda="+img).says(t, "add format=qcow2")
	y.must(exitDone, "backup", "q1", "--min-free=none", "--disk", "vda="+img+",format=qcow2").says(t, "made q1@")
	y.must(exitDone, "restore", "q1@latest", "--to", y.path("back.qcow2")).says(t, "(qcow2, ")
	if out, err := exec.Command(qemuImg, "compare", "-f", "qcow2", "-F", "raw", y.path("back.qcow2"), y.path("vda.img")).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestABackupNeverMakesAVault(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	o := s.must(exitNotFound, "backup", "web1", "--disk", "vda="+disk, "--vault", dir+"/vault")
	o.says(t, "is the vault's disk mounted?")
	o.says(t, "vault create")
	if _, err := os.Stat(dir + "/vault"); err == nil {
		t.Error("something was made")
	}
	s.must(exitNotFound, "backup", "web1", "--disk", "vda="+disk, "--vault", dir)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("something was made: %v, %v", entries, err)
	}
}

func TestAnInterruptedCommandSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	y.ctx = ctx
	y.must(exitInterrupted, "backup", "web1", "--min-free=none", "--disk", "vda="+y.path("vda.img")).says(t, "nothing was")
	y.must(exitInterrupted, "restore", "web1@latest", "--disk", "vda", "--to", y.path("x")).says(t, "nothing was changed")
	y.must(exitInterrupted, "check", "--data").says(t, "interrupted")
	y.ctx = t.Context()
	if n := len(y.list()); n != 2 {
		t.Errorf("there are %d points now", n)
	}
	y.must(exitDone, "check", "--data")
}

func TestTheIndexIsMadeAgain(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.must(exitDone, "vault", "rebuild-index")
	o := y.backup("--json")
	var b api.Backup
	if err := json.Unmarshal([]byte(o.out), &b); err != nil || b.Point.Sizes.Changed != 0 {
		t.Errorf("%v in %s", err, o.out)
	}
	y.must(exitDone, "check", "--data")
}

func TestTabOffersMachinesAndPoints(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	for line, want := range map[string]string{
		"points w":         "web1",
		"point show w":     "web1@",
		"restore web1@p":   y.points[0].ID,
		"diff a@b web1@la": "web1@latest",
		"restore web1@20":  "web1@20",
	} {
		y.must(exitDone, append([]string{completeWord}, strings.Fields(line)...)...).says(t, want)
	}
}
