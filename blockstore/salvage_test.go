package blockstore

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// breakVault damages some files of a vault in random ways.
func (s *sample) breakVault(t *testing.T, dir string, r *rand.Rand) {
	t.Helper()
	var files []string
	for _, pattern := range []string{"VAULT/*", "packs/*/*/*", "segments/*/*", "points/*/*", "attrs/*/*/*", "machines/*/*", "writers/*/*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	for range 1 + r.IntN(6) {
		file, way := files[r.IntN(len(files))], generalWays[r.IntN(len(generalWays))]
		b, err := os.ReadFile(file)
		if err != nil || len(b) == 0 {
			continue // removed or emptied before
		}
		t.Logf("%s: %s", file[len(dir)+1:], way.name)
		b = way.do(b, []byte("another"), r)
		if b == nil {
			err = os.Remove(file)
		} else {
			err = os.WriteFile(file, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatIsSalvagedOfABrokenVaultIsRight breaks vaults at random: every point
// of the new vault is what was backed up, and what is missing was said.
func TestWhatIsSalvagedOfABrokenVaultIsRight(t *testing.T) {
	makeSample(t).salvageBroken(t, 40)
}

func TestWhatIsSalvagedOfABrokenSealedVaultIsRight(t *testing.T) {
	makeSealedSample(t).salvageBroken(t, 10)
}

func (s *sample) salvageBroken(t *testing.T, times uint64) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i := range times {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			dir := copyVaultWith(t, s.dir, s.options())
			s.breakVault(t, dir, rand.New(rand.NewPCG(seed, i)))
			s.salvage(t, dir)
		})
	}
}

func (s *sample) salvage(t *testing.T, dir string) {
	t.Helper()
	before := treeOf(t, dir)
	out := dir + ".new"
	report, err := Salvage(t.Context(), dir, out, SalvageOptions{Options: s.options(), MinFree: -1})
	if errors.Is(err, ErrNotVault) && s.keysAreLost(t, dir) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if treeOf(t, dir) != before {
		t.Error("the old vault was changed")
	}
	v, err := Open(t.Context(), out, s.options())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	mustCheck(t, v)
	points, err := v.Points(t.Context())
	if err != nil || len(points) != report.Points {
		t.Fatalf("%d points, the report says %d: %v", len(points), report.Points, err)
	}
	there := map[PointID]bool{}
	for _, p := range points {
		there[p.ID] = true
	}
	for place := range s.failedReads(t, v) { // which compares what can be read
		var id PointID
		fmt.Sscan(place, &id)
		if there[id] {
			t.Errorf("%s cannot be read", place)
		}
	}
	s.saysWhatIsMissing(t, dir, report, there)
}

// saysWhatIsMissing compares the report with what the old vault can still give.
func (s *sample) saysWhatIsMissing(t *testing.T, dir string, report *SalvageReport, there map[PointID]bool) {
	t.Helper()
	harmed := map[PointID]bool{}
	for _, h := range report.Harmed {
		harmed[h.Point.ID] = true
		if len(h.Lost) == 0 || h.Kept {
			t.Errorf("%+v", h)
		}
	}
	for id := range s.want {
		records, _ := filepath.Glob(filepath.Join(dir, pointsDir, "*", "*-"+string(id)))
		if !there[id] && !harmed[id] && len(records) > 0 && !report.LostAny() {
			t.Errorf("point %s is missing, and nothing is said to be lost", id)
		}
	}
	old, err := Open(t.Context(), dir, s.options())
	if err != nil {
		return
	}
	defer old.Close()
	bad := map[PointID]bool{}
	for place := range s.failedReads(t, old) {
		var id PointID
		fmt.Sscan(place, &id)
		bad[id] = true
	}
	for id := range s.want {
		if !bad[id] && !there[id] {
			t.Errorf("point %s can be read in the old vault, and is not in the new one", id)
		}
	}
}

// keysAreLost tells whether neither VAULT nor any pack's header is left.
func (s *sample) keysAreLost(t *testing.T, dir string) bool {
	_, err := Open(t.Context(), dir, s.options())
	return errors.Is(err, ErrNotVault)
}

// treeOf is a digest of all names, sizes and times under a folder.
func treeOf(t *testing.T, dir string) (all string) {
	t.Helper()
	if err := filepath.Walk(dir, func(p string, st os.FileInfo, err error) error {
		if err == nil {
			all += fmt.Sprintln(p, st.Size(), st.ModTime())
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestHarmedPointsAreSalvagedWhenAskedForAndSaidToBeHarmed(t *testing.T) {
	t.Parallel()
	s := makeSample(t)
	dir := copyVault(t, s.dir)
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	points, err := v.Points(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(points, func(p *Point) bool { return p.MachineName == "web1" })
	spoil(t, v, victims(t, v, points[i])["block"])
	mustClose(t, v)
	for _, keep := range []bool{false, true} {
		out := fmt.Sprintf("%s.%v", dir, keep)
		report, err := Salvage(t.Context(), dir, out, SalvageOptions{MinFree: -1, KeepHarmed: keep})
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Harmed) == 0 || len(report.Harmed[0].Lost) != 1 || report.Harmed[0].Lost[0].Length != sampleBlock || !report.LostAny() {
			t.Fatalf("%+v", report)
		}
		check := checkData(t, out, true)
		if check.Harmed() != keep || int(check.Points) != report.Points+map[bool]int{true: len(report.Harmed)}[keep] {
			t.Errorf("keep %v: %d points, harmed: %v", keep, check.Points, check.Harmed())
		}
		if _, err := Salvage(t.Context(), dir, out, SalvageOptions{}); !errors.Is(err, ErrExists) {
			t.Errorf("into a folder that exists: %v", err)
		}
	}
}

func TestASalvageThatWasInterruptedGoesOn(t *testing.T) {
	t.Parallel()
	s := makeSample(t)
	dir := copyVault(t, s.dir)
	out := dir + ".new"
	v, err := openBroken(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := createFor(v, out); err != nil { // and ended there
		t.Fatal(err)
	}
	mustClose(t, v)
	if _, err := Salvage(t.Context(), dir, out, SalvageOptions{MinFree: -1}); err != nil {
		t.Fatal(err)
	}
	checkWhole(t, s, out)
	// What another vault left is not mixed with it.
	other := vaultIn(t, sampleBlock)
	if v, err = openBroken(other, Options{}); err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := createFor(v, out+"2"); err != nil {
		t.Fatal(err)
	}
	if _, err := Salvage(t.Context(), dir, out+"2", SalvageOptions{MinFree: -1}); err == nil {
		t.Error("two vaults were mixed")
	}
}

func checkWhole(t *testing.T, s *sample, dir string) {
	t.Helper()
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	mustCheck(t, v)
	for place := range s.failedReads(t, v) {
		t.Errorf("%s cannot be read", place)
	}
	attrs := 0
	points, _ := v.Points(t.Context())
	for _, p := range points {
		a, err := v.Attributes(p)
		if err != nil {
			t.Error(err)
		}
		attrs += len(a)
	}
	if attrs != 2 {
		t.Errorf("%d attributes, want 2", attrs)
	}
}

func TestASalvagedVaultIsBackedUpIntoAsTheOldOneWas(t *testing.T) {
	t.Parallel()
	s := makeSample(t)
	out := s.dir + ".new"
	if _, err := Salvage(t.Context(), s.dir, out, SalvageOptions{MinFree: -1}); err != nil {
		t.Fatal(err)
	}
	o := ownVault(t, out, OwnOptions{})
	p := backUp(t, o, "web1", map[string]Source{"vda": memory(bytes.Clone(s.last))})
	if p.Seq != 4 || p.Parent == "" || p.Sizes.Stored > 20<<10 {
		t.Errorf("the next point: %+v", p)
	}
	if _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true}); err != nil {
		t.Error(err)
	}
	mustClose(t, o)
	checkWhole(t, s, out)
}
