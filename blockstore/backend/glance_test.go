package backend

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// glancing is a folder with one in it, of a disk of this host, and the clock by which it settles.
func glancing(t *testing.T) (d *Dir, wait func(time.Duration)) {
	t.Helper()
	d = NewDir(t.TempDir())
	if err := os.Mkdir(d.Path("f"), 0o700); err != nil {
		t.Fatal(err)
	}
	if !d.Local() {
		t.Skip("the test's folder is not on a disk of this host")
	}
	now := time.Now()
	d.glances.clock = func() time.Time { return now }
	return d, func(by time.Duration) {
		time.Sleep(min(by, 11*time.Millisecond)) // the clock of the file system goes on as well: a tick, at least
		now = now.Add(by)
	}
}

func TestAGlanceSeesEveryChangeOfAFolder(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	d, wait := glancing(t)
	for range 3000 {
		name := d.Path(filepath.Join("f", fmt.Sprint("n", rng.IntN(4))))
		switch rng.IntN(6) {
		case 0:
			os.WriteFile(name, nil, 0o600)
		case 1:
			os.Remove(name)
		case 2:
			os.Rename(name, name+"-moved")
		case 3: // the folder is another, called the same
			os.RemoveAll(d.Path("f"))
			if rng.IntN(2) == 0 {
				os.Mkdir(d.Path("f"), 0o700)
			}
		case 4:
			wait(time.Duration(rng.IntN(5)) * time.Second)
		}
		glanced, err := d.Glance("f")
		listed, e := d.List("f")
		if err != nil || e != nil || !slices.Equal(glanced, listed) {
			t.Fatalf("a glance shows %q, and there is %q: %v, %v", glanced, listed, err, e)
		}
		os.Mkdir(d.Path("f"), 0o700)
	}
}

func TestAFolderIsBelievedOnlyWhenItsTimesWereSeenLongBeforeItWasListed(t *testing.T) {
	t.Parallel()
	d, wait := glancing(t)
	still := unix.NsecToTimespec(time.Now().Add(-time.Hour).UnixNano())
	// A file system whose clock stands still: the folder's times do not tell of a change.
	change := func(name string) {
		if err := os.WriteFile(d.Path("f/"+name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stand := func() {
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, d.Path("f"), []unix.Timespec{still, still}, 0); err != nil {
			t.Fatal(err)
		}
		d.glances.mu.Lock()
		defer d.glances.mu.Unlock()
		if g, ok := d.glances.of["f"]; ok { // the time of change of the inode cannot be set
			at, err := d.stampOf("f")
			if err != nil {
				t.Fatal(err)
			}
			g.stamp.ctime, g.stamp.size = at.ctime, at.size
			d.glances.of["f"] = g
		}
	}
	sees := func(want int, when string) {
		t.Helper()
		if names, err := d.Glance("f"); err != nil || len(names) != want {
			t.Errorf("%s: %q, %v", when, names, err)
		}
	}
	change("a")
	stand()
	sees(1, "at first")
	change("b")
	stand()
	sees(2, "within a tick of the first listing")
	wait(settles - time.Millisecond)
	change("c")
	stand()
	sees(3, "shortly before it is settled")
	wait(time.Millisecond)
	sees(3, "when it settles")
	change("d")
	stand()
	sees(3, "when no change can leave its times as they are, it is not read") // what this test alone can bring about
	change("e")
	sees(5, "when its times are others")
}

func TestAFolderOfAnotherHostIsListedEachTime(t *testing.T) {
	t.Parallel()
	d, wait := glancing(t)
	d.glances.local = func() bool { return false }
	for range 3 {
		if _, err := d.Glance("f"); err != nil {
			t.Fatal(err)
		}
		wait(time.Hour)
	}
	if len(d.glances.of) != 0 {
		t.Error("something is remembered of it")
	}
	if err := os.WriteFile(d.Path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, local := range []bool{true, false} {
		d.glances.local = func() bool { return local }
		if names, err := d.Glance("none"); names != nil || err != nil {
			t.Errorf("a folder that is not there: %q, %v", names, err)
		}
		if _, err := d.Glance("file"); err == nil {
			t.Error("a file is a folder")
		}
	}
}
