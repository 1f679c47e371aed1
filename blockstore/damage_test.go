package blockstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// scratch is a folder in memory where there is one: these tests sync a lot.
func scratch(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func vaultIn(t testing.TB, blockSize int) string {
	dir := filepath.Join(scratch(t), "vault")
	if _, err := Create(t.Context(), dir, CreateOptions{BlockSize: blockSize}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyVault copies a vault without its index, which the next owner makes anew.
func copyVault(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(scratch(t), "vault")
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, p)
		if d.IsDir() {
			if rel == indexDir {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// sample is a vault and what its points held.
type sample struct {
	dir   string
	want  map[PointID]map[string][]byte // disks; configuration as config/NAME
	files map[string]string             // one of each kind, by kind; another of the kind under kind + " 2"
	last  []byte                        // what web1's disk held last
}

const sampleBlock = 16 << 10

// makeSample writes a vault of two machines, each with several points, so that
// every kind of file is there at least twice.
func makeSample(t *testing.T) *sample {
	s := &sample{dir: vaultIn(t, sampleBlock), want: map[PointID]map[string][]byte{}, files: map[string]string{}}
	r := rand.New(rand.NewPCG(42, 0))
	o := ownVault(t, s.dir, OwnOptions{})
	s.last = make([]byte, 130*sampleBlock+100) // two levels of pages
	db := make([]byte, 40*sampleBlock)
	fill(r, db, len(db))
	var points []*Point
	for range 3 {
		for range 3 {
			fill(r, s.last, 200<<10)
		}
		p := backUp(t, o, "web1", map[string]Source{"vda": memory(bytes.Clone(s.last))})
		s.want[p.ID] = map[string][]byte{"vda": bytes.Clone(s.last), "config/domain.xml": []byte("<domain>web1</domain>")}
		points = append(points, p)
		fill(r, db, 50<<10)
		p = backUp(t, o, "db1", map[string]Source{"vda": memory(bytes.Clone(s.last)), "vdb": memory(bytes.Clone(db))})
		s.want[p.ID] = map[string][]byte{"vda": bytes.Clone(s.last), "vdb": bytes.Clone(db), "config/domain.xml": []byte("<domain>db1</domain>")}
	}
	s.note(t, o, points)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// note writes attributes and remembers one file of each kind.
func (s *sample) note(t *testing.T, o *Owner, points []*Point) {
	for i, p := range points[:2] {
		name := attrPath(p.Machine, p.ID, 1)
		if err := o.writeRecord(attributeKind, name, Attribute{Kind: Note, Point: p.ID, Seq: 1, Time: time.Now(), Text: "kept"}); err != nil {
			t.Fatal(err)
		}
		s.files["attribute"+[]string{"", " 2"}[i]] = name
		s.files["point"+[]string{"", " 2"}[i]] = pointPath(p.Machine, p.Seq, p.ID)
	}
	machines, err := o.Machines(t.Context())
	if err != nil || len(machines) != 2 {
		t.Fatalf("%d machines, %v", len(machines), err)
	}
	for i, m := range machines {
		names, _ := o.dir.List(path.Join(machinesDir, string(m.ID)))
		s.files["machine"+[]string{"", " 2"}[i]] = path.Join(machinesDir, string(m.ID), names[0])
	}
	s.files["VAULT"] = o.name
	s.files["OWNER"] = ownerPath(o.claim.owner.Writer)
	tables := o.tables.Load().tables
	s.files["segment"], s.files["segment 2"] = tables[len(tables)-1].Name, tables[0].Name
	for _, t := range slices.Backward(tables) {
		for _, p := range t.Packs {
			kind := map[pack.Class]string{pack.Blocks: "pack of blocks", pack.Pages: "pack of pages"}[pack.Class(p.Class)]
			if s.files[kind] != "" {
				kind += " 2"
			}
			s.files[kind] = packPath(writerID(t.Writer), p.ID)
		}
	}
}

// damaged is one way to damage a file: it returns the new content, nil for none.
type damaged struct {
	name string
	do   func(b, other []byte, r *rand.Rand) []byte
}

// flips damages one bit in each of several parts of a file, given as shares.
func flips(parts ...float64) (ways []damaged) {
	for _, part := range parts {
		ways = append(ways, damaged{fmt.Sprintf("flipped bit at %.2f", part), func(b, _ []byte, r *rand.Rand) []byte {
			at := min(int(part*float64(len(b))), len(b)-1)
			b[at] ^= 1 << r.IntN(8)
			return b
		}})
	}
	return ways
}

// flipFrom damages a bit so far from the beginning, or from the end where at is negative.
func flipFrom(name string, at int) damaged {
	return damaged{"flipped bit in the " + name, func(b, _ []byte, r *rand.Rand) []byte {
		b[(at+len(b))%len(b)] ^= 1 << r.IntN(8)
		return b
	}}
}

var generalWays = append(flips(0, 0.2, 0.45, 0.7, 1),
	damaged{"emptied", func([]byte, []byte, *rand.Rand) []byte { return []byte{} }},
	damaged{"cut in half", func(b, _ []byte, _ *rand.Rand) []byte { return b[:len(b)/2] }},
	damaged{"cut by a byte", func(b, _ []byte, _ *rand.Rand) []byte { return b[:len(b)-1] }},
	damaged{"first page zeroed", func(b, _ []byte, _ *rand.Rand) []byte { clear(b[:min(4096, len(b))]); return b }},
	damaged{"some page zeroed", func(b, _ []byte, r *rand.Rand) []byte {
		at := r.IntN(len(b)/4096+1) * 4096
		clear(b[at:min(at+4096, len(b))])
		return b
	}},
	damaged{"garbage", func(b, _ []byte, r *rand.Rand) []byte {
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}},
	damaged{"longer", func(b, _ []byte, _ *rand.Rand) []byte { return append(b, "more"...) }},
	damaged{"replaced by another of its kind", func(_, other []byte, _ *rand.Rand) []byte { return other }},
	damaged{"removed", func([]byte, []byte, *rand.Rand) []byte { return nil }},
)

// packWays damage what only packs have.
var packWays = []damaged{
	{"two records swapped", swapRecords},
	flipFrom("version of the header", 8), flipFrom("copy of VAULT", 100),
	flipFrom("footer", -64-20), flipFrom("version in the trailer", -64+32), flipFrom("trailer", -64),
}

// recordFlips damages each field of the first record's header, and its payload.
func recordFlips() (ways []damaged) {
	for name, at := range map[string]int{"magic": 0, "kind": 4, "codec": 5, "seal": 6, "reserved byte": 7, "ordinal": 8,
		"stored length": 12, "content length": 16, "ID": 30, "checksum": 52, "payload": 60} {
		ways = append(ways, damaged{"flipped bit in a record's " + name, func(b, _ []byte, r *rand.Rand) []byte {
			b[int(entriesOfPack(b)[0].Offset)+at] ^= 1 << r.IntN(8)
			return b
		}})
	}
	slices.SortFunc(ways, func(a, b damaged) int { return strings.Compare(a.name, b.name) })
	return ways
}

func entriesOfPack(b []byte) []pack.Entry {
	h, err := pack.ReadHeader(bytes.NewReader(b))
	if err != nil {
		panic(err)
	}
	entries, err := pack.ReadFooter(bytes.NewReader(b), int64(len(b)), h.ID)
	if err != nil {
		panic(err)
	}
	return entries
}

// swapRecords swaps two records of equal length; where none are, it copies one
// over the beginning of another.
func swapRecords(b, _ []byte, _ *rand.Rand) []byte {
	entries := entriesOfPack(b)
	for i, e := range entries {
		for _, f := range entries[i+1:] {
			if e.Length == f.Length {
				x, y := b[e.Offset:e.End()], b[f.Offset:f.End()]
				tmp := bytes.Clone(x)
				copy(x, y)
				copy(y, tmp)
				return b
			}
		}
	}
	n := min(entries[0].Length, entries[1].Length)
	copy(b[entries[0].Offset:], b[entries[1].Offset:entries[1].Offset+n])
	return b
}

// What a segment has where, from its end: a trailer of 136 bytes, the fan-out,
// the points, the packs, and entries from byte 16 on.
var segmentWays = []damaged{
	flipFrom("version of the header", 8), flipFrom("version of the trailer", -136+48), flipFrom("first entry's ID", 20),
	flipFrom("first entry's pack", 16+32), flipFrom("first entry's offset", 16+36), flipFrom("first entry's length", 16+40),
	flipFrom("trailer's count", -136+24), flipFrom("MAC of entries", -136+64), flipFrom("MAC", -136+96), flipFrom("end", -3),
	flipFrom("fan-out", -136-4), flipFrom("points", -136-200),
}

func TestDamageInAnyFileIsReportedWithWhatItHarmsAndNeverReturnedAsData(t *testing.T) {
	s := makeSample(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, kind := range slices.Sorted(maps.Keys(s.files)) {
		if strings.HasSuffix(kind, " 2") {
			continue
		}
		ways := slices.Clone(generalWays)
		switch {
		case strings.HasPrefix(kind, "pack"):
			ways = append(ways, packWays...)
			if kind == "pack of blocks" {
				ways = append(ways, recordFlips()...)
			}
		case kind == "segment":
			ways = append(ways, segmentWays...)
		}
		for i, way := range ways {
			t.Run(kind+" "+way.name, func(t *testing.T) {
				t.Parallel()
				s.damage(t, kind, way, rand.New(rand.NewPCG(seed, uint64(i))))
			})
		}
	}
}

func (s *sample) damage(t *testing.T, kind string, way damaged, r *rand.Rand) {
	dir := copyVault(t, s.dir)
	file := filepath.Join(dir, s.files[kind])
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var other []byte
	if name := s.files[kind+" 2"]; name != "" {
		if other, err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	} else {
		other = otherVaults(t, kind)
	}
	after := way.do(bytes.Clone(before), other, r)
	if bytes.Equal(before, after) {
		t.Skip("it changed nothing")
	}
	if after == nil {
		err = os.Remove(file)
	} else {
		err = os.WriteFile(file, after, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	harms := s.examine(t, dir)
	s.goOn(t, dir, kind, harms)
}

// otherVaults returns a file of another vault.
func otherVaults(t *testing.T, kind string) []byte {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	name := map[string]string{"VAULT": o.name, "OWNER": ownerPath(o.claim.owner.Writer)}[kind]
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// examine opens a damaged vault, and compares what Check says with what reads
// do. It returns the places that cannot be read.
func (s *sample) examine(t *testing.T, dir string) map[string]bool {
	t.Helper()
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatalf("the vault cannot be opened: %v", err)
	}
	defer v.Close()
	report, err := v.Check(t.Context(), CheckOptions{Data: true})
	if err != nil {
		t.Fatalf("the vault cannot be checked: %v", err)
	}
	if len(report.Faults) == 0 && !strings.HasSuffix(t.Name(), "attribute_removed") { // nothing tells of attributes
		t.Error("Check reports nothing")
	}
	fresh, err := Open(t.Context(), dir, Options{}) // nothing is cached
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	failed := s.failedReads(t, fresh)
	said := s.saidHarms(t, report)
	for place := range failed {
		if !said[place] {
			t.Errorf("%s cannot be read, and Check does not say so: %+v", place, report.Faults)
		}
	}
	for place := range said {
		if !failed[place] {
			t.Errorf("%s can be read, and Check says that it is harmed: %+v", place, report.Faults)
		}
	}
	return failed
}

func placeOf(p PointID, disk string, block int64) string {
	return fmt.Sprintf("%s %s %d", p, disk, block)
}

// saidHarms lists the blocks that a report says are harmed.
func (s *sample) saidHarms(t *testing.T, report *CheckReport) map[string]bool {
	t.Helper()
	said := map[string]bool{}
	for _, f := range report.Faults {
		if f.Where == "" || f.What == "" {
			t.Errorf("a fault without words: %+v", f)
		}
		for _, h := range f.Harms {
			want := s.want[h.Point]
			if want == nil || h.Machine != "web1" && h.Machine != "db1" {
				t.Fatalf("harm to a point that there is not: %+v", h)
			}
			if h.Disk == "" { // the whole point
				for disk, b := range want {
					for i := range blocksIn(b) {
						said[placeOf(h.Point, disk, i)] = true
					}
				}
				continue
			}
			for i := h.Offset / sampleBlock; i*sampleBlock < h.Offset+h.Length; i++ {
				said[placeOf(h.Point, h.Disk, i)] = true
			}
		}
	}
	return said
}

func blocksIn(b []byte) int64 { return (int64(len(b)) + sampleBlock - 1) / sampleBlock }

// failedReads reads every block of every point, and returns those that cannot
// be read. Wrong bytes are an error of the test.
func (s *sample) failedReads(t *testing.T, v *Vault) map[string]bool {
	t.Helper()
	failed := map[string]bool{}
	points, _ := v.Points(t.Context()) // what is not among them failed
	byID := map[PointID]*Point{}
	for _, p := range points {
		byID[p.ID] = p
	}
	for id, disks := range s.want {
		for disk, want := range disks {
			for i := range blocksIn(want) {
				part := want[i*sampleBlock : min(int64(len(want)), (i+1)*sampleBlock)]
				if byID[id] == nil {
					failed[placeOf(id, disk, i)] = true
					continue
				}
				got, err := readPart(v, byID[id], disk, i*sampleBlock, len(part))
				if err != nil {
					failed[placeOf(id, disk, i)] = true
					mustBeCorrupt(t, err, byID[id], disk, i)
				} else if !bytes.Equal(got, part) {
					t.Fatalf("wrong bytes at %s", placeOf(id, disk, i))
				}
			}
		}
	}
	return failed
}

func readPart(v *Vault, p *Point, disk string, off int64, n int) ([]byte, error) {
	if name, ok := strings.CutPrefix(disk, "config/"); ok {
		b, err := v.ReadConfig(context.Background(), p, name)
		if err != nil {
			return nil, err
		}
		return b[off : off+int64(n)], nil
	}
	d, err := v.OpenDisk(p, disk)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if got, err := d.ReadAt(b, off); err != nil && !(errors.Is(err, io.EOF) && got == n) {
		return nil, err
	}
	return b, nil
}

func mustBeCorrupt(t *testing.T, err error, p *Point, disk string, block int64) {
	t.Helper()
	var c *CorruptError
	if !errors.As(err, &c) {
		t.Fatalf("not a CorruptError: %v", err)
	}
	at := block * sampleBlock
	if c.Machine != p.MachineName || c.Point != p.ID || c.Disk != disk || c.Offset > at || c.Offset+c.Length <= at && c.Length > 0 {
		t.Fatalf("error about another place than %s: %v", placeOf(p.ID, disk, block), err)
	}
}

// goOn takes a damaged vault over and backs up again. Where nothing was
// harmed, everything is readable afterwards, and what can be made good is.
func (s *sample) goOn(t *testing.T, dir, kind string, harmed map[string]bool) {
	t.Helper()
	o := ownVault(t, dir, OwnOptions{Options: Options{Warn: func(string) {}}})
	disk := bytes.Clone(s.last)
	copy(disk[50<<10:], "and something new")
	p := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	if err := o.verifySegments(); err != nil { // as sweep does
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if len(harmed) > 0 {
		for place := range s.failedReads(t, v) {
			if !harmed[place] {
				t.Errorf("%s cannot be read since the next backup", place)
			}
		}
		return
	}
	if p.Seq != 4 || p.Parent == "" {
		t.Errorf("the next point has number %d and parent %q", p.Seq, p.Parent)
	}
	if !bytes.Equal(readDisk(t, v, p, "vda"), disk) {
		t.Error("the next point differs from what was backed up")
	}
	for place := range s.failedReads(t, v) {
		t.Errorf("%s cannot be read since the next backup", place)
	}
	report, err := v.Check(t.Context(), CheckOptions{Data: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Faults {
		if len(f.Harms) > 0 || !strings.HasPrefix(kind, "pack") && kind != "attribute" {
			t.Errorf("not made good: %+v", f)
		}
	}
}

func TestALostOrDamagedIndexIsMadeAnew(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	disk := make([]byte, 2<<20)
	fill(rand.New(rand.NewPCG(1, 2)), disk, 1<<20)
	o := ownVault(t, dir, OwnOptions{})
	backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = ownVault(t, dir, OwnOptions{})
	if err := os.RemoveAll(filepath.Join(dir, "index.before")); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, indexDir)); err != nil {
		t.Fatal(err)
	}
	o = ownVault(t, dir, OwnOptions{})
	defer o.Close()
	p := backUp(t, o, "other", map[string]Source{"vda": memory(disk)})
	if p.Sizes.Stored > 8<<10 {
		t.Errorf("%d bytes were stored again", p.Sizes.Stored)
	}
	mustCheck(t, o.Vault)
}
