package blockstore

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
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
	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
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

// goldens collects the files of the golden vault.
type goldens struct {
	t     *testing.T
	dir   string // where they lie
	keys  *content.Keys
	files map[string][]byte
	// sealed is set for the sealed vault: its VAULT and texts are encrypted with
	// random numbers, so that the files that are there are taken when they say the same.
	sealed bool
}

func (g *goldens) seal() pack.Seal {
	if g.sealed {
		return pack.AES256GCM
	}
	return pack.Unsealed
}

func (g *goldens) record(kind recordKind, path string, v any) []byte {
	b, err := encodeRecord(g.keys, g.sealed, kind, path, v)
	if err != nil {
		g.t.Fatal(err)
	}
	if g.sealed && kind.sealable() && !*update {
		b = g.asThere(kind, path, v)
	}
	g.files[path] = b
	return b
}

// asThere returns the record that is there, if it says what v does.
func (g *goldens) asThere(kind recordKind, path string, v any) []byte {
	b, err := os.ReadFile(filepath.Join(g.dir, path))
	if err != nil {
		g.t.Fatal(err)
	}
	var body json.RawMessage
	if err := decodeRecord(g.keys, kind, path, b, &body); err != nil {
		g.t.Fatal(err)
	}
	want, err := json.MarshalIndent(v, "", " ")
	if err != nil || !bytes.Equal(want, body) {
		g.t.Errorf("%s says %s, want %s (%v)", path, body, want, err)
	}
	return b
}

// keyring wraps the secret of the sealed vault, for goldenIdentity and a
// passphrase, or takes what is there.
func (g *goldens) keyring(secret content.Secret, path string) (keys []Key) {
	if !*update {
		b, err := os.ReadFile(filepath.Join(g.dir, path))
		if err != nil {
			g.t.Fatal(err)
		}
		var head vaultRecord
		if err := decodeRecord(g.keys, vaultKind, path, b, &head); err != nil {
			g.t.Fatal(err)
		}
		return head.Keys
	}
	fresh := &freshVault{secret: secret}
	for _, w := range []SealWith{{Passphrase: goldenPassphrase, Work: 10}, {Recipient: goldenRecipient, Note: "recovery key"}} {
		k, err := w.wrap(fresh)
		if err != nil {
			g.t.Fatal(err)
		}
		k.Added = goldenTime.Add(-time.Hour)
		keys = append(keys, k)
	}
	return keys
}

// file is a file of the golden vault that is written at offsets.
type goldenFile struct {
	g    *goldens
	path string
}

func (f goldenFile) WriteAt(p []byte, off int64) (int, error) {
	b := f.g.files[f.path]
	b = append(b, make([]byte, max(0, int(off)+len(p)-len(b)))...)
	f.g.files[f.path] = b
	return copy(b[off:], p), nil
}

// writer begins a pack, whose id repeats one byte.
func (g *goldens) writer(id byte, class pack.Class, vaultName string, vault []byte) *pack.Writer {
	h := pack.Header{Writer: goldenWriter.bytes(), Class: class, Seal: g.seal(), Created: goldenTime, VaultName: vaultName, Vault: vault}
	copy(h.ID[:], bytes.Repeat([]byte{id}, len(h.ID)))
	w, err := pack.NewWriter(goldenFile{g, packPath(goldenWriter, h.ID)}, h, g.keys)
	if err != nil {
		g.t.Fatal(err)
	}
	return w
}

func (g *goldens) store(w *pack.Writer, kind content.Kind, plain []byte) ID {
	var enc pack.Encoder
	id := g.keys.ID(kind, plain)
	rec, err := enc.Encode(nil, kind, id, plain)
	if err == nil {
		_, err = w.Append(rec)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return id
}

func (g *goldens) close(w *pack.Writer) sealedPack {
	entries, size, err := w.Seal()
	if err != nil {
		g.t.Fatal(err)
	}
	return newSealed(w.ID(), size, entries)
}

// make writes the golden vault.
func (g *goldens) make() {
	var secret content.Secret
	for i := range secret {
		secret[i] = byte(i)
	}
	g.keys = content.Derive(secret)
	vaultName := vaultDir + "/00000001-0a0a0a0a"
	head := vaultRecord{ID: "0f0f0f0f0f0f0f0f", Name: "example", Created: goldenTime.Add(-time.Hour), BlockSize: goldenBlock, Codec: "lz4"}
	if g.sealed {
		head.Keys = g.keyring(secret, vaultName)
	} else {
		head.Secret = secret
	}
	vault := g.record(vaultKind, vaultName, head)

	blocks := g.writer(0xa0, pack.Blocks, vaultName, vault)
	disk := append(goldenDisk(), make([]byte, 3*goldenBlock-40_000)...)
	ids := []ID{g.store(blocks, content.Block, disk[:goldenBlock]), {}, g.store(blocks, content.Block, disk[2*goldenBlock:])}
	pages := g.writer(0xb0, pack.Pages, vaultName, vault)
	tree := diskmap.NewBuilder(3, nil, func(p []byte, _ int, _ int64) (ID, error) { return g.store(pages, content.Page, p), nil })
	if err := tree.Append(ids); err != nil {
		g.t.Fatal(err)
	}
	root, err := tree.Finish()
	if err != nil {
		g.t.Fatal(err)
	}
	domain := []byte("<domain type='kvm'/>\n")
	config := ConfigBlob{Name: "domain.xml", Size: int64(len(domain)), Parts: []ID{g.store(pages, content.Blob, domain)}}
	sealed := []sealedPack{g.close(blocks), g.close(pages)}

	sizes := Sizes{Logical: 40_000, Protected: 40_000 - goldenBlock, Changed: 40_000 - goldenBlock, Stored: 500, Read: 40_000}
	pointName := pointPath(goldenMachine, 1, goldenPoint)
	point := g.record(pointKind, pointName, Point{
		ID: goldenPoint, Machine: goldenMachine, MachineName: "web1", Seq: 1, Time: goldenTime, Committed: goldenTime.Add(1500 * time.Millisecond),
		Writer: goldenWriter, Tool: "holdfast 0.1", Asked: Filesystem, Reached: Crash, Reason: "the guest agent does not answer",
		Disks: []DiskInfo{{Name: "vda", Root: root, Size: 40_000, LogicalSector: 512, PhysicalSector: 4096, Format: "qcow2",
			Source: "/var/lib/libvirt/images/web1.qcow2", Serial: "S1", Bus: "virtio", BootOrder: 1, Sizes: sizes}},
		LeftOut: []LeftOut{{Name: "vdb", Size: 1 << 30, Reason: "left out by its policy"}},
		Config:  []ConfigBlob{config}, Sizes: sizes,
	})
	g.segment(sealed, pointName, point)

	g.record(machineKind, machinesDir+"/"+string(goldenMachine)+"/00000001-0d0d0d0d", Machine{ID: goldenMachine, Name: "web1", Generation: 1})
	g.record(attributeKind, attrsDir+"/"+string(goldenMachine)+"/"+string(goldenPoint)+"/00000001-0c0c0c0c",
		Attribute{Kind: Note, Point: goldenPoint, Seq: 1, Time: goldenTime.Add(time.Minute), By: "root", Text: "before the upgrade"})
	g.damage(sealed[0].ID, ids[2])
	g.record(ownerKind, ownerPath(goldenWriter), Ownership{Writer: goldenWriter, Host: "kvm1", HostID: strings.Repeat("ab", 16),
		BootID: "00000000-0000-4000-8000-000000000000", PID: 4711, Command: "holdfast backup web1", Nonce: "1234567812345678", Opened: goldenTime, Clean: true})
}

func (g *goldens) segment(sealed []sealedPack, pointName string, point []byte) {
	name := segmentsDir + "/" + string(goldenWriter) + "/00000001-0b0b0b0b"
	packs, entries := sortSealed(sealed)
	b := segment.NewBuilder(io.NewOffsetWriter(goldenFile{g, name}, 0), g.keys, name)
	for _, e := range entries {
		if err := b.Add(e); err != nil {
			g.t.Fatal(err)
		}
	}
	head := segment.Head{Writer: goldenWriter.bytes(), Seq: 1, Created: goldenTime.Add(time.Second), Packs: packs}
	if err := b.Finish(head, []segment.Point{{Event: segment.Committed, Path: pointName, Record: point}}); err != nil {
		g.t.Fatal(err)
	}
}

func (g *goldens) damage(p pack.ID, id ID) {
	name := damagedDir + "/" + p.String() + "/00000001-0e0e0e0e"
	note := DamageNote{Pack: p, Ordinal: 1, ID: id, Kind: content.Block, Time: goldenTime.Add(time.Hour),
		What: "its content is of another ID", Cleared: true}
	b, err := encodeDamage(g.keys, name, &note)
	if err != nil {
		g.t.Fatal(err)
	}
	g.files[name] = b
	if back, err := decodeDamage(g.keys, name, b); err != nil || *back != note {
		g.t.Errorf("damage note reads back as %+v, %v", back, err)
	}
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
