package blockstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// manyPacks is a vault of about a dozen packs of one size.
func manyPacks(t *testing.T) (dir string, p *Point) {
	dir = vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	o.store.packBytes = 1 << 20
	disk := make([]byte, 12<<20)
	rand.NewChaCha8([32]byte{20}).Read(disk)
	p = backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	mustClose(t, o)
	return dir, p
}

func TestEachPartialCheckReadsWhatWasNotReadForLongest(t *testing.T) {
	t.Parallel()
	dir, _ := manyPacks(t)
	state := t.TempDir()
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	file := readingsPath(state, v.Info().ID)
	known := func() map[pack.ID]time.Time {
		r, err := loadReadings(file, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return r.times
	}
	var total, last int64 // bytes read; in the last run
	for run := 1; ; run++ {
		before := known()
		r, err := v.Check(t.Context(), CheckOptions{Data: true, Percent: 20, StateDir: state})
		if err != nil || len(r.Faults) > 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		total, last = total+r.BytesRead, r.BytesRead
		after := known()
		if len(after) <= len(before) {
			t.Fatalf("run %d read packs again before all were read: %d, then %d", run, len(before), len(after))
		}
		if !r.ReadSince.IsZero() {
			if int64(len(after)) != r.Packs || run < 4 || run > 6 {
				t.Errorf("after run %d: %d of %d packs", run, len(after), r.Packs)
			}
			break
		}
	}
	// The last run goes on with what was read first. Each ends after the pack with which it
	// has its part.
	if all := packBytes(t, v); total-last > all || last > all*20/100+minPackBytes*11/10 {
		t.Errorf("%d bytes were read of %d, %d of them in the last run", total, all, last)
	}
	// A torn or lost file begins anew.
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(b) {
		if got := decodeReadings(b[:n]); len(got) > 0 {
			t.Fatalf("%d of %d bytes are believed", n, len(b))
		}
	}
	if err := os.WriteFile(file, b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := v.Check(t.Context(), CheckOptions{Data: true, Percent: 20, StateDir: state}); err != nil || !r.ReadSince.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	if left, _ := filepath.Glob(filepath.Join(state, "verify", "*")); len(left) != 1 {
		t.Errorf("files are left: %v", left)
	}
}

func TestAnInterruptedCheckIsGoneOnWith(t *testing.T) {
	t.Parallel()
	dir, _ := manyPacks(t)
	state := t.TempDir()
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	ctx, cancel := context.WithCancel(t.Context())
	_, err = v.Check(ctx, CheckOptions{Data: true, StateDir: state, Workers: 1, Progress: func(done, total int64) {
		if done > total/2 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	r, err := v.Check(t.Context(), CheckOptions{Data: true, Percent: 45, StateDir: state})
	if err != nil {
		t.Fatal(err)
	}
	if times := decodeReadings(mustRead(t, readingsPath(state, v.Info().ID))); int64(len(times)) < r.Packs-2 || r.BytesRead > packBytes(t, v)*6/10 {
		t.Errorf("%d of %d packs were read in two halves; the second read %d bytes", len(times), r.Packs, r.BytesRead)
	}
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPointsSayThatTheyWereReadBackAfterACompletePass(t *testing.T) {
	t.Parallel()
	dir, p := manyPacks(t)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	part := &CheckReport{examined: []*Point{p}}
	if n, err := o.NoteVerified(t.Context(), part); n != 0 || err != nil {
		t.Errorf("%d points after a part: %v", n, err)
	}
	time.Sleep(time.Until(p.Committed.Truncate(time.Second).Add(time.Second))) // times of readings are whole seconds
	report, err := o.Check(t.Context(), CheckOptions{Data: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} { // once is enough
		if n, err := o.NoteVerified(t.Context(), report); n != want || err != nil {
			t.Errorf("%d points, want %d: %v", n, want, err)
		}
	}
	if s, err := o.State(p); err != nil || !s.Verified.Equal(report.ReadSince) || s.InTrash() {
		t.Errorf("%+v, %v", s, err)
	}
	report.ReadSince = report.ReadSince.Add(time.Hour)
	report.Faults = []Fault{{Harms: []Harm{{Point: p.ID}}}}
	if n, err := o.NoteVerified(t.Context(), report); n != 0 || err != nil {
		t.Errorf("a harmed point was called verified (%d, %v)", n, err)
	}
}

func TestACheckOfOnePointFindsWhatHarmsItAndNothingElse(t *testing.T) {
	t.Parallel()
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	disk := make([]byte, 150*sampleBlock)
	rand.NewChaCha8([32]byte{21}).Read(disk)
	harmed := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	other := make([]byte, 150*sampleBlock)
	rand.NewChaCha8([32]byte{22}).Read(other)
	whole := backUp(t, o, "web2", map[string]Source{"vda": memory(other)})
	for what, id := range victims(t, o.Vault, harmed) {
		if what == "blob" {
			continue
		}
		spoil(t, o.Vault, id)
		v, err := Open(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := v.CheckPoint(t.Context(), harmed, CheckOptions{})
		if err != nil || len(r.Faults) != 1 || len(r.Faults[0].Harms) != 1 || len(r.Damaged) != 1 {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
		if r, err := v.CheckPoint(t.Context(), whole, CheckOptions{}); err != nil || len(r.Faults) != 0 || r.Blocks != 150 {
			t.Errorf("the other point: %+v, %v", r, err)
		}
		mustClose(t, v)
		spoil(t, o.Vault, id)
	}
}

func TestReadersAreHeldToAPace(t *testing.T) {
	t.Parallel()
	p := Pace{rate: 1 << 20}
	ctx, cancel := context.WithCancel(t.Context())
	if err := p.Take(ctx, 1<<40); err != nil { // the first may go at once
		t.Fatal(err)
	}
	cancel()
	if err := p.Take(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("the second did not wait: %v", err)
	}
}

func FuzzReadingsAreWhatWasWrittenOrNothing(f *testing.F) {
	at := time.Unix(1_800_000_000, 0).UTC()
	f.Add(encodeReadings(map[pack.ID]time.Time{{1}: at, {2}: at.Add(time.Hour)}))
	f.Add(encodeReadings(nil))
	f.Add([]byte(readingsHead + "x\nsum 00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		times := decodeReadings(b)
		if times == nil {
			return
		}
		if again := decodeReadings(encodeReadings(times)); !reflect.DeepEqual(again, times) {
			t.Errorf("%v became %v", times, again)
		}
	})
}
