package blockstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDamageInAnyFileIsReportedWithWhatItHarmsAndNeverReturnedAsData(t *testing.T) {
	makeSample(t).damageAll(t)
}

func TestDamageInAnyFileOfASealedVaultIsReportedAndNeverReturnedAsData(t *testing.T) {
	makeSealedSample(t).damageAll(t)
}

// sealedKinds are the kinds of files that a sealed vault has otherwise.
var sealedKinds = map[string]bool{"VAULT": true, "point": true, "machine": true, "pack of blocks": true, "pack of pages": true}

func (s *sample) damageAll(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, kind := range slices.Sorted(maps.Keys(s.files)) {
		if strings.HasSuffix(kind, " 2") || s.identity != "" && !sealedKinds[kind] {
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
	dir := copyVaultWith(t, s.dir, s.options())
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
		other = s.otherVaults(t, kind)
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
func (s *sample) otherVaults(t *testing.T, kind string) []byte {
	t.Helper()
	dir := s.create(t)
	o := ownVault(t, dir, OwnOptions{Options: s.options()})
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
	v, err := Open(t.Context(), dir, s.options())
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
	fresh, err := Open(t.Context(), dir, s.options()) // nothing is cached
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
	open := s.options()
	open.Warn = func(string) {}
	o := ownVault(t, dir, OwnOptions{Options: open})
	disk := bytes.Clone(s.last)
	copy(disk[50<<10:], "and something new")
	p := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	if err := o.verifySegments(); err != nil { // as sweep does
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := Open(t.Context(), dir, s.options())
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

func TestALostIndexIsMadeAnew(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	disk := make([]byte, 2<<20)
	fill(rand.New(rand.NewPCG(1, 2)), disk, 1<<20)
	o := ownVault(t, dir, OwnOptions{})
	backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
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
