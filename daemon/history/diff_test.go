package history

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// diffOf collects a diff, and demands that it is sorted.
func diffOf(t testing.TB, v *blockstore.Vault, a, b Side, o DiffOptions) ([]api.FileDiff, *api.FilesDiff) {
	t.Helper()
	var list []api.FileDiff
	total, err := Diff(t.Context(), v, a, b, o, func(f *api.FileDiff) error {
		list = append(list, *f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(list, func(x, y api.FileDiff) int { return comparePaths(x.Path, y.Path) }) {
		t.Errorf("not sorted: %+v", list)
	}
	return list, total
}

// TestADiffOfAnyTwoDaysIsWhatWasDoneBetweenThem takes random days of a guest whose changes
// are known.
func TestADiffOfAnyTwoDaysIsWhatWasDoneBetweenThem(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 1))
	g := newGuest(t, "-O metadata_csum", "16M")
	s := newStore(t)
	g.files["/etc/os-release"] = truth{kind: "file", content: bytes.Repeat([]byte("x"), 1000), mode: "0644"}
	name := func() string { return fmt.Sprintf("/var/f%02d", r.IntN(40)) }
	var want []map[string]truth
	for range 25 {
		for range 1 + r.IntN(12) {
			one, other := name(), name()
			f := g.files[one]
			switch r.IntN(6) {
			case 0, 1:
				b := make([]byte, r.IntN(30_000))
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				g.write(one, b)
			case 2:
				g.remove(one)
			case 3:
				if f.kind == "file" {
					g.chmod(one, []string{"0600", "0640", "0755"}[r.IntN(3)])
				}
			case 4:
				g.symlink(one, other)
			case 5:
				if f.kind == "file" && one != other {
					g.rename(one, other)
				}
			}
		}
		s.add("web1", disk{"vda", g.night()})
		now := map[string]truth{}
		for path, f := range g.files {
			now[path] = f
		}
		want = append(want, now)
	}
	v := s.open()
	for range 60 {
		i, j := r.IntN(len(want)), r.IntN(len(want))
		for _, plain := range []bool{false, true} {
			got := diffWith(t, v, Side{Point: s.points[i], Path: "/"}, Side{Point: s.points[j], Path: "/"}, plain)
			if expected := expect(want[i], want[j]); !slices.Equal(got, expected) {
				t.Fatalf("days %d and %d differ in\n%s\nand should in\n%s", i, j, strings.Join(got, "\n"), strings.Join(expected, "\n"))
			}
		}
	}
	list, total := diffOf(t, s.open(), Side{Point: s.points[3], Path: "/"}, Side{Point: s.points[3], Path: "/"}, DiffOptions{})
	if len(list) != 0 || total.Compared != 1 || total.Cost.Blocks > 40 {
		t.Errorf("a point and itself: %+v, %+v", list, total)
	}
}

// diffWith returns a word for each path, moved ones taken apart.
func diffWith(t *testing.T, v *blockstore.Vault, a, b Side, plain bool) []string {
	t.Helper()
	var got []string
	run := newRun(v, nil)
	d := &differ{run: run, o: DiffOptions{Progress: func(int64) {}}, plain: plain, a: half{look: run.open(v, a.Point), Side: a}, b: half{look: run.open(v, b.Point), Side: b}}
	d.emit = func(f *api.FileDiff) error {
		if f.Change == "moved" {
			got = append(got, "removed "+f.From, "added "+f.Path)
			return nil
		}
		word := f.Change
		if word == "changed" && !slices.Contains(f.Details, "content") && !slices.Contains(f.Details, "target") {
			word = "changed in nothing"
		}
		got = append(got, word+" "+f.Path)
		return nil
	}
	if err := d.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	sort.Strings(got)
	return got
}

func expect(a, b map[string]truth) []string {
	var list []string
	for path, f := range a {
		g, ok := b[path]
		switch {
		case !ok:
			list = append(list, "removed "+path)
		case f.kind != g.kind:
			list = append(list, "replaced "+path)
		case !bytes.Equal(f.content, g.content) || f.target != g.target:
			list = append(list, "changed "+path)
		case f.mode != g.mode || f.kind == "file" && f.serial != g.serial:
			list = append(list, "metadata "+path)
		case f.kind == "link" && f.serial != g.serial:
			list = append(list, "metadata "+path)
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			list = append(list, "added "+path)
		}
	}
	sort.Strings(list)
	return list
}
