package blockstore

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
)

// sameAs is a source that says of all but some blocks that they are the
// parent's, as a bitmap does.
type sameAs struct {
	memory
	dirty map[int64]bool // blocks
	reads *atomic.Int64
}

func (s sameAs) ReadAt(p []byte, off int64) (int, error) {
	s.reads.Add(1)
	return s.memory.ReadAt(p, off)
}

func (s sameAs) Extents(_ context.Context, fn func(Extent) error) error {
	for at := int64(0); at < s.Size(); at += sampleBlock {
		e := Extent{at, min(sampleBlock, s.Size()-at), Same}
		if s.dirty[at/sampleBlock] {
			e.Kind = Data
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// spoil flips a bit in the payload of every copy of some content.
func spoil(t *testing.T, v *Vault, id ID) {
	t.Helper()
	found := false
	if err := v.tables.Load().find(id, func(p place) bool {
		f, err := os.OpenFile(v.dir.Path(packPath(p.writer, p.pack)), os.O_RDWR, 0)
		if err != nil {
			return false
		}
		defer f.Close()
		at := int64(p.Offset) + int64(p.Length) - 3
		b := []byte{0}
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 0x10
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
		found = true
		return false
	}); err != nil || !found {
		t.Fatalf("%s is in no pack: %v", id.Short(), err)
	}
}

// victims finds a block, a leaf of a map, its root and a blob of a point.
func victims(t *testing.T, v *Vault, p *Point) map[string]ID {
	t.Helper()
	d, err := p.Disk("vda")
	if err != nil {
		t.Fatal(err)
	}
	m := v.diskMap(d)
	found := map[string]ID{"root": d.Root, "blob": p.Config[0].Parts[0]}
	if found["leaf"], err = m.Node(1, 1); err != nil {
		t.Fatal(err)
	}
	if err := m.Visit(t.Context(), diskmap.Fanout-8, 40, diskmap.Visitor{Blocks: func(_ int64, ids []ID) error {
		for _, id := range ids[:7] {
			if !id.IsZero() {
				found["block"] = id
			}
		}
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	return found
}

// checkData examines a vault with fresh caches.
func checkData(t *testing.T, dir string, data bool) *CheckReport {
	t.Helper()
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	r, err := v.Check(t.Context(), CheckOptions{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func notesIn(t *testing.T, v *Vault) int {
	t.Helper()
	n, unread, err := v.damageNotes(t.Context())
	if err != nil || len(unread) > 0 {
		t.Fatal(err, unread)
	}
	return len(n)
}

// What a backup does with damage depends on what is damaged, on how the source
// tells what changed, and on whether anyone noted it before.
func TestTheNextBackupOfTheSameContentHealsWhatWasDamaged(t *testing.T) {
	for _, what := range []string{"block", "leaf", "root", "blob"} {
		for _, how := range []string{"scan", "bitmap", "another machine"} {
			t.Run(what+" by "+how, func(t *testing.T) {
				t.Parallel()
				heal(t, what, how)
			})
		}
	}
}

func heal(t *testing.T, what, how string) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	disk := make([]byte, 150*sampleBlock+100)
	fill(rand.New(rand.NewPCG(1, 1)), disk, len(disk))
	for at := 0; at < len(disk); at += 512 {
		disk[at]++ // no two blocks are alike
		copy(disk[at+1:], []byte{byte(at >> 9), byte(at >> 17), byte(at >> 25)})
	}
	first := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	spoil(t, o.Vault, victims(t, o.Vault, first)[what])
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}

	report := checkData(t, dir, true)
	if !report.Harmed() || len(report.Damaged) != 1 {
		t.Fatalf("the check found %+v", report)
	}
	o = ownVault(t, dir, OwnOptions{})
	if n, good, err := o.NoteDamage(t.Context(), report.Damaged); n != 1 || good != 0 || err != nil {
		t.Fatalf("%d damaged records are noted, %d are good: %v", n, good, err)
	}
	if r := checkData(t, dir, false); !r.Harmed() {
		t.Errorf("the point is not shown as harmed: %+v", r)
	}
	if err := o.Close(); err != nil { // the note outlives its owner
		t.Fatal(err)
	}
	o = ownVault(t, dir, OwnOptions{})

	var reads atomic.Int64
	machine, src := "web1", Source(memory(disk))
	switch how {
	case "bitmap":
		src = sameAs{memory(disk), map[int64]bool{3: true}, &reads}
	case "another machine":
		machine = "web2"
	}
	b, err := o.Begin(t.Context(), BackupOptions{Machine: machine, Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AddDisk(t.Context(), DiskInfo{Name: "vda"}, src, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.AddConfig("domain.xml", []byte("<domain>web1</domain>")); err != nil {
		t.Fatal(err)
	}
	second, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b.Healed() != 1 {
		t.Errorf("the backup says that it healed %d", b.Healed())
	}
	if second.Sizes.Protected != first.Sizes.Protected {
		t.Errorf("the protected size is %d, was %d", second.Sizes.Protected, first.Sizes.Protected)
	}
	if how == "bitmap" && what == "block" && reads.Load() != 2 {
		t.Errorf("the source was read %d times, want the changed block and the lost one", reads.Load())
	}
	healed(t, o, dir, map[*Point][]byte{first: disk, second: disk})
}

// healed examines a vault after everything was stored again: every point is
// whole, sweep removes the damaged pack, and nothing is left to say.
func healed(t *testing.T, o *Owner, dir string, want map[*Point][]byte) {
	t.Helper()
	for _, data := range []bool{false, true} {
		if r := checkData(t, dir, data); r.Harmed() {
			t.Errorf("not healed: %+v", r.Faults)
		}
	}
	for range 2 {
		v, err := Open(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for p, disk := range want {
			if !bytes.Equal(readDisk(t, v, p, "vda"), disk) {
				t.Errorf("point %s differs", p.ID)
			}
			if c, err := v.ReadConfig(t.Context(), p, "domain.xml"); err != nil || !strings.Contains(string(c), "web1") {
				t.Errorf("the configuration of %s: %v", p.ID, err)
			}
		}
		mustClose(t, v)
		if _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true}); err != nil {
			t.Fatal(err)
		}
	}
	if n := notesIn(t, o.Vault); n != 0 {
		t.Errorf("%d notes are left", n)
	}
	if names, _ := o.dir.List(damagedDir); len(names) != 0 {
		t.Errorf("%v are left", names)
	}
	mustClose(t, o)
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustCheck(t, v)
	mustClose(t, v)
}

func mustClose(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedNoteIsReplacedByWhatTheRecordSays(t *testing.T) {
	t.Parallel()
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	disk := make([]byte, 100*sampleBlock)
	rand.NewChaCha8([32]byte{10}).Read(disk)
	p := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	block := victims(t, o.Vault, p)["block"]
	spoil(t, o.Vault, block)
	o.readBlock(block, make([]byte, sampleBlock))
	mustClose(t, o)
	files, _ := filepath.Glob(filepath.Join(dir, damagedDir, "*", "*"))
	if len(files) != 1 {
		t.Fatalf("notes: %v", files)
	}
	if err := os.WriteFile(files[0], []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	o = ownVault(t, dir, OwnOptions{})
	defer o.Close()
	if n := notesIn(t, o.Vault); n != 1 || !o.damage.isLost(block) {
		t.Errorf("%d records are noted", n)
	}
}

func TestSweepKeepsTheGoodCopyAndNeverTheLastOneGoes(t *testing.T) {
	t.Parallel()
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	disk := make([]byte, 100*sampleBlock)
	rand.NewChaCha8([32]byte{11}).Read(disk)
	p := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	block := victims(t, o.Vault, p)["block"]
	spoil(t, o.Vault, block)
	o.readBlock(block, make([]byte, sampleBlock))
	before := packBytes(t, o.Vault)
	for range 3 { // of the only copy nothing goes, damaged or not
		if _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true}); err != nil {
			t.Fatal(err)
		}
	}
	if after := packBytes(t, o.Vault); after != before {
		t.Errorf("packs had %d bytes, have %d", before, after)
	}
	second := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	healed(t, o, dir, map[*Point][]byte{p: disk, second: disk})
}
