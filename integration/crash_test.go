package integration

import (
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestABackupKilledAtAnyInstantHarmsNoPoint kills backups at random instants. After
// each, the vault checks clean, and every point that is listed has the content of
// the moment at which it was made.
func TestABackupKilledAtAnyInstantHarmsNoPoint(t *testing.T) {
	t.Parallel()
	rng := newRand(t)
	image := noisyImage(t, rng.Uint64(), 64)
	v := newVault(t)
	begin := time.Now()
	v.backup("web1", image)
	whole := time.Since(begin)
	known := map[string]string{v.points()[0].ID: hashFile(t, image)}

	for round := range 8 {
		change(t, image, rng, 60)
		if round%2 == 1 { // much that is new: packs fill and are sealed
			overwriteHalf(t, image, rng)
		}
		hash := hashFile(t, image)
		p := v.start("backup", "web1", "--disk", "vda="+image)
		time.Sleep(time.Duration(rng.Int64N(int64(whole) * 3 / 2)))
		p.signal(syscall.SIGKILL)
		o := p.wait()
		t.Logf("round %d: exit code %d", round, o.code)
		v.must(0, "check", "--data")
		for _, pt := range v.points() {
			if _, old := known[pt.ID]; !old {
				known[pt.ID] = hash
			}
			if got := v.restored("web1", pt.ID); got != known[pt.ID] {
				t.Fatalf("round %d: point %s holds something else than the disk did", round, pt.ID)
			}
		}
	}
	v.backup("web1", image)
	if v.restored("web1", "latest") != hashFile(t, image) {
		t.Error("the backup after the kills differs from the disk")
	}
	v.must(0, "check", "--data")
}

func overwriteHalf(t *testing.T, image string, rng *rand.Rand) {
	t.Helper()
	for range 30 {
		change(t, image, rng, 100)
	}
}

// TestCtrlCEndsABackupAndTheNextOneGoesOn interrupts a backup that has stored
// something: the exit code and the words say so, and what lies in sealed packs is not stored again.
func TestCtrlCEndsABackupAndTheNextOneGoesOn(t *testing.T) {
	t.Parallel()
	image := noisyImage(t, 3, 300)
	v := newVault(t)
	p := v.start("backup", "web1", "--disk", "vda="+image, "--rate", "16MiB") // it would take 16 seconds
	eventually(t, "a pack has been begun", func() bool { return packsOf(v) > 0 })
	p.signal(syscall.SIGINT)
	o := p.expect(130)
	if !strings.Contains(o.err, "interrupted") {
		t.Errorf("the words do not say that it was interrupted: %s", o.err)
	}
	if n := len(v.points()); n != 0 {
		t.Errorf("%d points after an interruption", n)
	}
	v.must(0, "check", "--data")
	v.backup("web1", image)
	if v.restored("web1", "latest") != hashFile(t, image) {
		t.Error("the disk differs")
	}
}
