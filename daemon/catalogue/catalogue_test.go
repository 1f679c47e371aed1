package catalogue

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// queries ask in all ways that there are.
func queries(w *world) []Query {
	mid := w.points[len(w.points)/2].Time
	return []Query{
		{Most: -1},
		{Most: -1, Deleted: true},
		{Name: "report*.xlsx", Most: -1},
		{Name: "*.txt", Most: -1, Deleted: true},
		{Name: "log.3", Most: -1},
		{Name: "a*", Type: 0o40000, Most: -1},
		{Name: "?[0-9]", Most: -1},
		{Name: "b\xff*", Most: -1},
		{Top: "/home/x y\n3", Most: -1},
		{Top: "/home", Least: 1 << 30, Most: 1 << 39},
		{Newer: mid, Most: -1},
		{Older: mid, Most: -1, Deleted: true},
		{Path: func(p string) bool { return strings.Contains(p, "/a1") }, Most: -1},
	}
}

func TestASearchOverAYearOfPointsFindsWhatAPlainModelSays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		w := newWorld(t, seed)
		w.put("/home", Attr{Mode: 0o40755})
		w.change(60)
		for range 40 {
			w.change(w.r.IntN(8))
			w.point()
		}
		wholes, names := 0, int64(0)
		for i, p := range w.points {
			if w.r.IntN(6) == 0 {
				continue // these have none for now
			}
			b := w.build(p)
			if int(b.Names) != len(w.held[i]) {
				t.Errorf("point %d: %d names, want %d", i, b.Names, len(w.held[i]))
			}
			names += b.Changes
			if b.Whole {
				wholes++
			}
		}
		if wholes < 2 || wholes > 40 {
			t.Errorf("%d of the catalogues are whole", wholes)
		}
		for _, q := range queries(w) {
			if s := w.expect(q); len(s.Points)+len(s.Missing) != len(w.points) || len(s.Missing) == 0 {
				t.Errorf("%d points and %d without a catalogue, of %d", len(s.Points), len(s.Missing), len(w.points))
			}
		}
		for _, p := range w.look().Missing { // older than others that have one
			w.build(p)
		}
		for _, q := range queries(w) {
			if s := w.expect(q); len(s.Missing) != 0 {
				t.Errorf("%d points have no catalogue", len(s.Missing))
			}
		}
	}
}

func TestWhatIsPrunedInTheMiddleOfAChainIsMissedByNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 7)
	w.put("/home", Attr{Mode: 0o40755})
	w.change(80)
	for range 20 {
		w.change(3)
		w.point()
	}
	for _, p := range w.points {
		w.build(p)
	}
	for len(w.points) > 4 {
		gone := map[blockstore.PointID]bool{}
		for range 4 {
			p := w.points[w.r.IntN(len(w.points))]
			if !gone[p.ID] {
				gone[p.ID] = true
				if err := w.o.Delete(p); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := w.o.Sweep(t.Context(), blockstore.SweepOptions{Trash: true, Now: true}); err != nil {
			t.Fatal(err)
		}
		for i := len(w.points) - 1; i >= 0; i-- {
			if gone[w.points[i].ID] {
				w.points = append(w.points[:i:i], w.points[i+1:]...)
				w.held = append(w.held[:i:i], w.held[i+1:]...)
			}
		}
		for _, q := range queries(w) {
			if s := w.expect(q); len(s.Missing) != 0 {
				t.Errorf("%d points lost their catalogue", len(s.Missing))
			}
		}
		mustCheck(t, w, 0)
	}
	for _, p := range w.points {
		if err := w.o.Delete(p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.o.Sweep(t.Context(), blockstore.SweepOptions{Trash: true, Now: true}); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "catalogues", "*")); len(left) != 0 {
		t.Errorf("%v is left of a machine without points", left)
	}
}

// mustCheck examines the vault; faults may be there, and none harms a point.
func mustCheck(t *testing.T, w *world, faults int) {
	t.Helper()
	r, err := w.o.Check(t.Context(), blockstore.CheckOptions{Data: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Faults) != faults || r.Harmed() {
		t.Errorf("%d faults, want %d that harm nothing: %v", len(r.Faults), faults, r.Faults)
	}
}

func TestALostOrDamagedCatalogueCostsNothingButBuildingItAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 9)
	w.put("/home", Attr{Mode: 0o40755})
	w.change(80)
	for range 12 {
		w.change(3)
		w.build(w.point())
	}
	files, err := filepath.Glob(filepath.Join(w.dir, "catalogues", "*", "*"))
	if err != nil || len(files) != 12 {
		t.Fatal(files, err)
	}
	for i, spoil := range []func(string) error{
		os.Remove,
		func(f string) error { return os.Truncate(f, 700) },
		func(f string) error { return flip(f, 0) },
		func(f string) error { return flip(f, -1) },
		func(f string) error { return flip(f, 900) },
	} {
		if err := spoil(files[3+i]); err != nil {
			t.Fatal(err)
		}
		q := Query{Most: -1}
		s := w.expect(q)
		if len(s.Missing) == 0 || len(s.Bad) == 0 && i > 0 {
			t.Errorf("%d: nobody says that points are missing", i)
		}
		for range 3 { // what is built on a damaged one turns out to be missing then
			for _, p := range w.look().Missing {
				w.build(p)
			}
			for _, p := range w.expect(q).Missing {
				if err := drop(w, p); err != nil {
					t.Fatal(err)
				}
			}
		}
		if s := w.expect(q); len(s.Missing) != 0 {
			t.Errorf("%d: %d points are still missing", i, len(s.Missing))
		}
		if _, err := w.o.Sweep(t.Context(), blockstore.SweepOptions{}); err != nil {
			t.Fatal(err)
		}
		mustCheck(t, w, 0)
		if files, err = filepath.Glob(filepath.Join(w.dir, "catalogues", "*", "*")); err != nil || len(files) != 12 {
			t.Fatal(len(files), err)
		}
	}
}

// drop removes the catalogue of a point.
func drop(w *world, p *blockstore.Point) error {
	var list blockstore.Catalogues
	all, err := w.o.Catalogues(p.Machine)
	for _, c := range all {
		if c.Point == p.ID {
			list = append(list, c)
		}
	}
	if err == nil {
		_, err = w.o.DropCatalogues(list)
	}
	return err
}

// flip changes one bit of a file; at is an offset, from its end if it is negative.
func flip(name string, at int) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 4
	return os.WriteFile(name, b, 0o600)
}

func TestWhatCannotBeReadIsNotDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	for _, f := range []string{"/home", "/home/a", "/home/b"} {
		w.put(f, Attr{Mode: 0o40755})
	}
	for _, f := range []string{"/home/a/1", "/home/a/2", "/home/b/1"} {
		w.put(f, Attr{Mode: 0o100644})
	}
	w.build(w.point())
	files := w.tree()
	files.Nodes[w.now["/home/a"].Ino].Err = &tree.CorruptError{What: "folder", Why: "of the test", At: -1}
	w.remove("/home/b/1")
	for range 8 { // so that one of them is whole
		w.build(w.pointOf(w.set.Image(files, 16<<10)))
	}
	got, s := w.hits(Query{Most: -1, Deleted: true})
	if len(got) != 0 {
		t.Errorf("%v are said to be deleted", got) // b/1 is in the tree still
	}
	if len(s.Unread) != 1 || s.Unread[0].Path() != "/home/a" {
		t.Errorf("unread is %v", s.Unread)
	}
	files.Nodes[w.now["/home/b"].Ino].Entries = nil
	w.build(w.pointOf(w.set.Image(files, 16<<10)))
	got, _ = w.hits(Query{Most: -1, Deleted: true})
	if h, ok := got["/home/b/1"]; !ok || len(got) != 1 || h.Versions[0].Points != 9 {
		t.Errorf("deleted are %v", got)
	}
}

func TestAPointWithTheDisksOfAnotherIsNotReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	disk := w.set.Image(w.tree(), 16<<10)
	if b := w.build(w.pointOf(disk)); !b.Walked || !b.Whole {
		t.Error("the first was not read")
	}
	if b := w.build(w.pointOf(disk)); b.Walked || b.Whole || b.Names != 3 || b.Changes != 0 {
		t.Errorf("the second: %+v", b)
	}
	w.expect(Query{Most: -1})
	if _, err := Build(t.Context(), w.o, w.points[1], w.options()); !errors.Is(err, blockstore.ErrExists) {
		t.Error(err)
	}
}

func TestASealedVaultTellsNoNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, blockstore.SealWith{Passphrase: worldPass, Work: 10})
	w.put("/secret-name", Attr{Mode: 0o100644})
	w.build(w.point())
	w.expect(Query{Most: -1})
	files, _ := filepath.Glob(filepath.Join(w.dir, "catalogues", "*", "*"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || strings.Contains(string(b), "secret") {
			t.Errorf("%s tells a name (%v)", f, err)
		}
	}
	if len(files) != 1 {
		t.Error(files)
	}
}

func TestABuildThatIsCancelledLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.put("/home", Attr{Mode: 0o40755})
	w.change(30)
	p := w.point()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, w.o, p, w.options()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := w.o.Delete(p); err != nil {
		t.Fatal(err)
	}
	if _, err := w.o.Sweep(t.Context(), blockstore.SweepOptions{Trash: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), w.o, p, w.options()); err == nil {
		t.Error("a point that is gone has a catalogue")
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "catalogues", "*", "*")); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

func TestTimesBefore1970AndNoneAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.put("/old", Attr{Mode: 0o100644, Timed: true, Sec: -5, Nsec: 7, Size: 1<<62 + 5})
	w.put("/none", Attr{Mode: 0o100644})
	a := w.now["/none"]
	a.Timed, a.Sec, a.Nsec = false, 0, 0
	w.now["/none"] = a
	w.build(w.point())
	w.expect(Query{Most: -1})
	got, _ := w.hits(Query{Most: -1, Older: time.Unix(-4, 0)})
	if len(got) != 2 || !got["/none"].Versions[0].Modified().IsZero() {
		t.Error(got)
	}
}
