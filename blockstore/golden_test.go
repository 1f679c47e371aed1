package blockstore

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// goldenVault is a small vault, made of fixed secret, ids and times by the same
// encoders that write every vault. FORMAT.md explains its bytes.
const goldenVault = "testdata/vault"

// goldenSealed is the same vault, sealed.
const (
	goldenSealed     = "testdata/sealed"
	goldenPassphrase = "a golden passphrase"
	goldenIdentity   = "AGE-SECRET-KEY-1MW826A69EGMQP4MWW4SF2Q84SYZQ7VFELUS65GTMC46FGM8PA8QQ9Q9W97"
	goldenRecipient  = "age1ph9x68jphm87zd5whfsgn383dqp3agzh6v57h7nm73vv5yh2wsdqccwefy"
)

const (
	goldenWriter  = WriterID("0102030405060708")
	goldenMachine = MachineID("1111111111111111")
	goldenPoint   = PointID("p2222222222222222")
	goldenBlock   = 16 << 10
)

var goldenTime = time.Date(2026, 11, 22, 22, 0, 5, 0, time.UTC)

// goldenDisk is what the one disk of the golden vault holds: a block that
// compresses, a block of zeros, and half a block.
func goldenDisk() []byte {
	disk := make([]byte, 40_000)
	copy(disk, bytes.Repeat([]byte("holdfast"), goldenBlock/8))
	copy(disk[2*goldenBlock:], "the third block")
	return disk
}

func TestEveryFileOfAVaultIsEncodedAsEver(t *testing.T) {
	g := &goldens{t: t, dir: goldenVault, files: map[string][]byte{}}
	g.make()
	g.compare()
}

func TestEveryFileOfASealedVaultIsEncodedAsEver(t *testing.T) {
	g := &goldens{t: t, dir: goldenSealed, files: map[string][]byte{}, sealed: true}
	g.make()
	g.compare()
}

// goldenRunning are records of a machine that is protected, which the vaults
// above are older than.
const goldenRunning = "testdata/running"

// makeRunning writes the records of a protected machine and of a point of it.
func (g *goldens) makeRunning() {
	var secret content.Secret
	for i := range secret {
		secret[i] = byte(i)
	}
	g.keys = content.Derive(secret)
	vm := VM{UUID: "6a3f0c62-8e44-4d0a-9a5c-0123456789ab", Name: "web 1", Kind: KindLibvirt}
	g.record(machineKind, machinesDir+"/"+string(goldenMachine)+"/00000002-0d0d0d0d", Machine{ID: goldenMachine, Name: "web-1", Generation: 2, Protected: &Protection{
		Since: goldenTime, VM: vm, Libvirt: &LibvirtVM{URI: "qemu:///system", UUID: vm.UUID},
		Exclude: []string{"vdb"}, Shareable: true, Consistency: Filesystem, FallBack: true, FreezeTimeout: 5000, Mounts: []string{"/", "/srv"},
		Hooks:   []Hook{{Pre: "/etc/holdfast/pre", Limit: 30_000}, {Pre: "sync", Post: "echo done", Guest: true, GoOn: true}},
		Scratch: "/srv/scratch", ScratchCap: 1 << 40, ScratchFree: 1 << 30,
		RawBitmaps: true, Samples: 64, Windows: true, AcceptVSS: true,
	}})
	g.record(machineKind, machinesDir+"/3333333333333333/00000001-0d0d0d0d", Machine{ID: "3333333333333333", Name: "db1", Generation: 1, Protected: &Protection{
		Since: goldenTime, VM: VM{Name: "db1", Kind: KindQEMU}, QEMU: &QEMUVM{QMP: "/run/db1.qmp", QGA: "/run/db1.qga"},
		Images: []ImageDisk{{Name: "vda", Path: "/vms/db1.qcow2", Format: "qcow2", Backing: []string{"/vms/base"}}}, Consistency: Crash,
	}})
	vm.Host = "7.2.22"
	g.record(pointKind, pointPath(goldenMachine, 2, "p4444444444444444"), Point{
		ID: "p4444444444444444", Machine: goldenMachine, MachineName: "web-1", Seq: 2, Parent: goldenPoint, Time: goldenTime.Add(time.Hour), Committed: goldenTime.Add(time.Hour + time.Minute),
		Writer: goldenWriter, Tool: "holdfast 0.2", Asked: Application, Reached: Filesystem, Reason: "a hook failed", VM: &vm,
		Quiesced: &Quiesced{WindowMS: 12.5, Agent: "7.2.0", Hooks: []HookResult{{Command: "/etc/holdfast/pre", Error: "exit status 1", Millis: 40}, {Command: "sync", Guest: true, After: true, Millis: 7}}},
		Disks: []DiskInfo{{Name: "vda", Size: 40_000, LogicalSector: 512, PhysicalSector: 512, Format: "qcow2", Source: "/vms/web1.qcow2", Serial: "S1", Bus: "virtio", BootOrder: 1,
			Mode: ByScan, Reason: "the disk was resized", Chain: []string{"/vms/web1.qcow2", "/vms/base.qcow2"}, Sizes: Sizes{Logical: 40_000}}},
	})
	g.record(heldKind, heldDir+"/00000001-0f0f0f0f", MachineHold{Machine: goldenMachine, Until: goldenTime.Add(2 * time.Hour), Made: goldenTime, Host: "kvm1", Command: "holdfast"})
}

func TestTheRecordsOfARunningMachineAreEncodedAsEver(t *testing.T) {
	g := &goldens{t: t, dir: goldenRunning, files: map[string][]byte{}}
	g.makeRunning()
	g.compare()
}

// goldenPolicies are records of policies, which the vaults above are older than.
const goldenPolicies = "testdata/policies"

// makePolicies writes a policy, one that was removed, and what pruning by a policy writes besides.
func (g *goldens) makePolicies() {
	var secret content.Secret
	for i := range secret {
		secret[i] = byte(i)
	}
	g.keys = content.Derive(secret)
	g.record(policyKind, policiesDir+"/5555555555555555/00000002-0a0b0c0d", Policy{ID: "5555555555555555", Name: "nightly", Generation: 2, Changed: goldenTime,
		Machines: []string{"web*", "db1"}, Schedule: "daily at 22:00", Zone: "Europe/Berlin", Window: "22:00-06:00", Jitter: 1800, Limit: 4 * 3600,
		Consistency: Filesystem, FallBack: true, Keep: Keep{Last: 3, Hourly: 24, Daily: 7, Weekly: 4, Monthly: 12, Yearly: 2}, TrashDays: 30, RPO: 26 * 3600})
	g.record(policyKind, policiesDir+"/6666666666666666/00000004-0a0b0c0d", Policy{ID: "6666666666666666", Name: "old", Generation: 4, Changed: goldenTime, Removed: true})
	g.record(machineKind, machinesDir+"/"+string(goldenMachine)+"/00000003-0d0d0d0d", Machine{ID: goldenMachine, Name: "web1", Generation: 3, Pruned: "keep last 3"})
	g.record(attributeKind, attrsDir+"/"+string(goldenMachine)+"/"+string(goldenPoint)+"/00000002-0c0c0c0c",
		Attribute{Kind: Deleted, Point: goldenPoint, Seq: 2, Time: goldenTime, Until: goldenTime.AddDate(0, 0, 30)})
}

func TestTheRecordsOfPoliciesAreEncodedAsEver(t *testing.T) {
	g := &goldens{t: t, dir: goldenPolicies, files: map[string][]byte{}}
	g.makePolicies()
	g.compare()
}

func (g *goldens) compare() {
	t := g.t
	if *update {
		if err := os.RemoveAll(g.dir); err != nil {
			t.Fatal(err)
		}
		for name, b := range g.files {
			p := filepath.Join(g.dir, name)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := map[string][]byte{}
	err := filepath.WalkDir(g.dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(g.dir, p)
		if err == nil {
			want[name], err = os.ReadFile(p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := slices.Sorted(maps.Keys(g.files)), slices.Sorted(maps.Keys(want)); !slices.Equal(a, b) {
		t.Fatalf("files\n%v\nwant\n%v", a, b)
	}
	for name, b := range want {
		if !bytes.Equal(g.files[name], b) {
			t.Errorf("%s is encoded as\n%q\nwant\n%q", name, g.files[name], b)
		}
	}
}

func TestAVaultOfVersion1IsReadAsEver(t *testing.T) {
	readGolden(t, goldenVault, nil)
}

func TestASealedVaultOfVersion1IsReadAsEver(t *testing.T) {
	readGolden(t, goldenSealed, passphrase(goldenPassphrase))
	readGolden(t, goldenSealed, &Unlocker{Identities: []string{goldenIdentity}})
}

func readGolden(t *testing.T, dir string, u *Unlocker) {
	t.Helper()
	v, err := Open(t.Context(), dir, Options{Unlock: u, Warn: func(s string) { t.Errorf("warning: %s", s) }})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if i := v.Info(); i.ID != "0f0f0f0f0f0f0f0f" || i.Name != "example" || i.BlockSize != goldenBlock || !i.Created.Equal(goldenTime.Add(-time.Hour)) {
		t.Errorf("vault %+v", i)
	}
	points, err := v.Points(t.Context())
	if err != nil || len(points) != 1 || points[0].ID != goldenPoint || !points[0].Time.Equal(goldenTime) || points[0].Reached != Crash {
		t.Fatalf("points %+v, %v", points, err)
	}
	if got := readDisk(t, v, points[0], "vda"); !bytes.Equal(got, goldenDisk()) {
		t.Error("the disk holds something else")
	}
	if b, err := v.ReadConfig(t.Context(), points[0], "domain.xml"); err != nil || string(b) != "<domain type='kvm'/>\n" {
		t.Errorf("configuration %q, %v", b, err)
	}
	if a, err := v.Attributes(points[0]); err != nil || len(a) != 1 || a[0].Text != "before the upgrade" {
		t.Errorf("attributes %v, %v", a, err)
	}
	if m, err := v.Machines(t.Context()); err != nil || !reflect.DeepEqual(m, []Machine{{ID: goldenMachine, Name: "web1", Generation: 1}}) {
		t.Errorf("machines %v, %v", m, err)
	}
	if o, err := v.readOwner(goldenWriter); err != nil || !o.Clean || o.PID != 4711 {
		t.Errorf("owner %+v, %v", o, err)
	}
	mustCheck(t, v)
}

// The examples of FORMAT.md are lines of offset, bytes and remark in a fence
// that names their file, or the text of a file itself.
var (
	fenceLine = regexp.MustCompile("^```(hex|record) (\\S+)$")
	hexLine   = regexp.MustCompile(`^([0-9a-f]{4})  ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  .*|)$`)
)

func TestTheExamplesOfFORMATAreBytesOfTheGoldenVault(t *testing.T) {
	f, err := os.Open("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	compared := 0
	var kind, file string
	var b []byte
	var text strings.Builder
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if m := fenceLine.FindStringSubmatch(line); m != nil {
			kind, file = m[1], m[2]
			folder := goldenVault
			if rest, ok := strings.CutPrefix(file, "sealed:"); ok {
				folder, file = goldenSealed, rest
			}
			if rest, ok := strings.CutPrefix(file, "running:"); ok {
				folder, file = goldenRunning, rest
			}
			if rest, ok := strings.CutPrefix(file, "policies:"); ok {
				folder, file = goldenPolicies, rest
			}
			if b, err = os.ReadFile(filepath.Join(folder, file)); err != nil {
				t.Fatal(err)
			}
			text.Reset()
			continue
		}
		switch {
		case kind == "":
		case line == "```":
			if kind == "record" && text.String() != string(b) {
				t.Errorf("%s: FORMAT.md shows another text", file)
			}
			compared++
			kind = ""
		case kind == "record":
			text.WriteString(line + "\n")
		default:
			if err := compareHex(line, b); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if compared < 4 {
		t.Errorf("FORMAT.md has %d examples", compared)
	}
}

func compareHex(line string, b []byte) error {
	m := hexLine.FindStringSubmatch(line)
	if m == nil {
		return fmt.Errorf("line %q is no example", line)
	}
	at, err := strconv.ParseInt(m[1], 16, 64)
	if err != nil {
		return err
	}
	want, err := hex.DecodeString(strings.ReplaceAll(m[2], " ", ""))
	if err != nil {
		return err
	}
	if int(at)+len(want) > len(b) || !bytes.Equal(b[at:int(at)+len(want)], want) {
		return fmt.Errorf("line %q is not what the file holds there", line)
	}
	return nil
}
