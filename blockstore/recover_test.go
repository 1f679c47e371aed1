package blockstore

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// vaultOfOnePoint makes a vault whose owner has made a point and ended well.
func vaultOfOnePoint(t *testing.T) (dir string, o *Owner) {
	t.Helper()
	dir = vaultIn(t, 16<<10)
	o = ownVault(t, dir, OwnOptions{})
	if _, err := backUpSelfTold(t.Context(), o, "vm0", crashDisk(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, o
}

func TestATornOwnerFileLocksNobodyOut(t *testing.T) {
	for _, text := range []string{"", "garbage", "holdfast owner 1 plain\nmac ", strings.Repeat("\x00", 5000)} {
		t.Run(fmt.Sprintf("%.20q", text), func(t *testing.T) {
			t.Parallel()
			dir, o := vaultOfOnePoint(t)
			writer := o.claim.owner.Writer
			if err := os.WriteFile(filepath.Join(dir, ownerPath(writer)), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			o = ownVault(t, dir, OwnOptions{})
			if o.claim.owner.Writer != writer || o.claim.clean {
				t.Errorf("writer %s after %s, clean %v", o.claim.owner.Writer, writer, o.claim.clean)
			}
			var busy *BusyError
			if _, err := Own(t.Context(), dir, OwnOptions{MinFree: -1}); !errors.As(err, &busy) {
				t.Errorf("a second owner: %v", err)
			}
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			examinePoints(t, dir, 1)
		})
	}
}

func TestALostFolderOfWritersDoesNotMakeAnotherWriter(t *testing.T) {
	dir, o := vaultOfOnePoint(t)
	writer := o.claim.owner.Writer
	if err := os.RemoveAll(filepath.Join(dir, writersDir)); err != nil {
		t.Fatal(err)
	}
	o = ownVault(t, dir, OwnOptions{})
	if o.claim.owner.Writer != writer {
		t.Errorf("writer %s after %s", o.claim.owner.Writer, writer)
	}
	p, err := backUpSelfTold(t.Context(), o, "vm1", crashDisk(1, 0, 0))
	if err != nil || p.Sizes.Stored != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	examinePoints(t, dir, 2)
}

func TestWhatAnOwnerThatDiedLeftUnfinishedIsRemovedEverywhere(t *testing.T) {
	dir := vaultIn(t, 16<<10)
	o := ownVault(t, dir, OwnOptions{})
	p, err := backUpSelfTold(t.Context(), o, "vm0", crashDisk(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.writeRecord(attributeKind, attrPath(p.Machine, p.ID, 1), Attribute{Kind: Note, Point: p.ID, Seq: 1}); err != nil {
		t.Fatal(err)
	}
	if err := o.dir.MakeDir(path.Join(damagedDir, strings.Repeat("ab", 16))); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() || strings.Contains(name, "/"+indexDir) {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		switch rel { // where nothing is ever written
		case packsDir, segmentsDir, pointsDir, attrsDir, damagedDir, machinesDir, policiesDir, writersDir, path.Join(attrsDir, string(p.Machine)):
			return nil
		}
		if strings.HasPrefix(rel, writersDir) || strings.HasPrefix(rel, packsDir) && strings.Count(rel, "/") == 1 {
			return nil
		}
		return os.WriteFile(filepath.Join(name, ".tmp-0123456789abcdef"), []byte("half"), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	left := temps(t, dir)
	if len(left) < 8 {
		t.Fatalf("only %v", left)
	}
	o.spoilt.Store(true) // as if it had died
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = ownVault(t, dir, OwnOptions{})
	if left := temps(t, dir); len(left) > 0 {
		t.Errorf("still there: %v", left)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	examinePoints(t, dir, 1)
}

func TestStrangeFilesInAVaultAreInNobodysWay(t *testing.T) {
	dir, o := vaultOfOnePoint(t)
	for _, d := range []string{"", vaultDir, packsDir, packsDir + "/" + string(o.claim.owner.Writer), segmentsDir, pointsDir, attrsDir, damagedDir, machinesDir, policiesDir, writersDir} {
		if err := os.WriteFile(filepath.Join(dir, d, "desktop.ini"), []byte("hello"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	o = ownVault(t, dir, OwnOptions{})
	if _, err := backUpSelfTold(t.Context(), o, "vm0", crashDisk(1, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if points := mustTellTheTruth(t, o.Vault); len(points) != 2 {
		t.Errorf("%d points", len(points))
	}
	r, err := o.Check(t.Context(), CheckOptions{Data: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Faults {
		if !strings.Contains(f.Where, "desktop.ini") || len(f.Harms) > 0 {
			t.Errorf("fault: %+v", f)
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// changeVersion rewrites a record of VAULT as a later version would write it.
func changeVersion(t *testing.T, keys *content.Keys, name string, b []byte) []byte {
	t.Helper()
	_, body, _, err := splitRecord(b, vaultKind)
	if err != nil {
		t.Fatal(err)
	}
	head := []byte("holdfast vault 7 plain\n")
	mac := keys.MAC(name, head, body)
	return append(fmt.Appendf(head, "mac %x\n", mac), body...)
}

func TestAVaultOfALaterVersionIsRefusedAndADamagedVersionIsNot(t *testing.T) {
	dir, o := vaultOfOnePoint(t)
	file := filepath.Join(dir, o.name)
	plain, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, changeVersion(t, o.keys, o.name, plain), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Options{}); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "7") {
		t.Errorf("a vault of version 7: %v", err)
	}
	if err := os.WriteFile(file, bytes.Replace(plain, []byte("vault 1 "), []byte("vault 3 "), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatalf("a damaged version: %v", err)
	}
	v.Close()
}

func TestAPointWhoseRecordIsLostIsPutBackByTheNextOwner(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprint("clean ", clean), func(t *testing.T) {
			dir := vaultIn(t, 16<<10)
			o := ownVault(t, dir, OwnOptions{})
			var lost *Point
			for i := range 20 { // some of their segments are merged
				p, err := backUpSelfTold(t.Context(), o, "vm0", crashDisk(1, 0, i%3))
				if err != nil {
					t.Fatal(err)
				}
				if i == 4 {
					lost = p
				}
			}
			o.spoilt.Store(!clean)
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, pointPath(lost.Machine, lost.Seq, lost.ID))); err != nil {
				t.Fatal(err)
			}
			var warned []string
			v, err := Open(t.Context(), dir, Options{Warn: func(w string) { warned = append(warned, w) }})
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			for range 2 { // readers use the segment's copy, and say so once
				if points := mustTellTheTruth(t, v); points[lost.ID] == nil || len(points) != 20 {
					t.Errorf("a reader finds %d points", len(points))
				}
			}
			if len(warned) != 1 || !strings.Contains(warned[0], string(lost.ID)) {
				t.Errorf("warned of %q", warned)
			}
			r, err := v.Check(t.Context(), CheckOptions{})
			if err != nil || len(r.Faults) != 1 || r.Faults[0].What != errPointLost.Error() || !strings.Contains(r.Faults[0].Where, string(lost.ID)) || r.Points != 20 {
				t.Errorf("%+v, %v", r, err)
			}
			o = ownVault(t, dir, OwnOptions{})
			if points := mustTellTheTruth(t, o.Vault); len(points) != 20 {
				t.Errorf("%d points", len(points))
			}
			p, err := backUpSelfTold(t.Context(), o, "vm0", crashDisk(1, 0, 0))
			if err != nil || p.Seq != 21 {
				t.Errorf("%+v, %v", p, err)
			}
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			examinePoints(t, dir, 21)
		})
	}
}

func TestLosingAllSegmentsAndThenAnyPointLosesNothing(t *testing.T) {
	s := makeSample(t)
	dir := copyVault(t, s.dir)
	if err := os.RemoveAll(filepath.Join(dir, segmentsDir)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		v, err := Open(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for place := range s.failedReads(t, v) {
			t.Errorf("%s cannot be read", place)
		}
		v.Close()
		if err := ownVault(t, dir, OwnOptions{}).Close(); err != nil {
			t.Fatal(err)
		}
		points, err := filepath.Glob(filepath.Join(dir, pointsDir, "*", "*"))
		if err != nil || len(points) != len(s.want) {
			t.Fatalf("%d points, %v", len(points), err)
		}
		for _, p := range points {
			if err := os.Remove(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := ownVault(t, dir, OwnOptions{}).Close(); err != nil {
			t.Fatal(err)
		}
	}
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	mustCheck(t, v)
	for place := range s.failedReads(t, v) {
		t.Errorf("%s cannot be read", place)
	}
}

func TestASegmentCutShortUnderAReaderIsNoCrash(t *testing.T) {
	s := makeSample(t)
	dir := copyVault(t, s.dir)
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, table := range v.tables.Load().tables {
		if err := os.Truncate(filepath.Join(dir, table.Name), 0); err != nil {
			t.Fatal(err)
		}
	}
	for place := range s.failedReads(t, v) {
		t.Errorf("%s cannot be read", place)
	}
}

func TestADamagedIndexIsSetAsideOrHarmsNothing(t *testing.T) {
	s := makeSample(t)
	dir := copyVault(t, s.dir)
	o := ownVault(t, dir, OwnOptions{}) // makes the index
	folder := o.indexPath()
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		whole, err := os.ReadFile(filepath.Join(folder, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for j, way := range generalWays {
			damaged := way.do(bytes.Clone(whole), []byte("another"), rand.New(rand.NewPCG(uint64(i), uint64(j))))
			if bytes.Equal(damaged, whole) || len(damaged) > 1<<20 && way.name != "cut in half" {
				continue
			}
			t.Run(f.Name()+" "+way.name, func(t *testing.T) {
				t.Parallel()
				s.damagedIndex(t, folder, f.Name(), damaged)
			})
		}
	}
}

// damagedIndex opens a vault with an index of which one file is damaged, in
// another process, which Badger may end.
func (s *sample) damagedIndex(t *testing.T, index, name string, damaged []byte) {
	t.Helper()
	dir := copyVault(t, s.dir)
	to := filepath.Join(dir, indexDir, filepath.Base(index))
	if err := os.CopyFS(to, os.DirFS(index)); err != nil {
		t.Fatal(err)
	}
	err := os.Remove(filepath.Join(to, name))
	if damaged != nil {
		err = os.WriteFile(filepath.Join(to, name), damaged, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := childCommand(t, childOrder{Dir: dir, Seed: 1, Machines: 1, Rounds: 1}).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for place := range s.failedReads(t, v) {
		t.Errorf("%s cannot be read", place)
	}
	mustCheck(t, v)
}

func TestAnIndexWhoseOpeningEndsTheProcessIsMadeAnewTheThirdTime(t *testing.T) {
	dir := vaultIn(t, 16<<10)
	o := ownVault(t, dir, OwnOptions{})
	folder := o.indexPath()
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	// What openings that did not end leave behind.
	if err := os.WriteFile(filepath.Join(folder, "OPENING"), []byte("oo"), 0o600); err != nil {
		t.Fatal(err)
	}
	var warned bool
	o = ownVault(t, dir, OwnOptions{Options: Options{Warn: func(string) { warned = true }}})
	if err := o.Close(); err != nil || !warned {
		t.Errorf("warned %v, %v", warned, err)
	}
	if _, err := os.Stat(folder + ".aside"); err != nil {
		t.Error(err)
	}
}
