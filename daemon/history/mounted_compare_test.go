package history

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// compareLive asks for histories of many paths, and for diffs of pairs of days.
func compareLive(t *testing.T, s *store, truths []map[string]fact) {
	t.Helper()
	v := s.open()
	r := rand.New(rand.NewPCG(5, 5))
	var all []string
	for _, truth := range truths {
		for p := range truth {
			all = append(all, p)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for n := range 40 {
		p := all[r.IntN(len(all))]
		if n == 0 {
			p = "/steady"
		}
		h, err := File(t.Context(), v, s.points, FileOptions{Path: p, Volume: "vda", NoSums: r.IntN(3) == 0})
		if err != nil {
			t.Fatal(err)
		}
		checkVersions(t, p, h, s.points)
		followLive(t, p, h, truths)
	}
	for range 30 {
		i, j := r.IntN(len(truths)), r.IntN(len(truths))
		list, _ := diffOf(t, v, Side{s.points[i], "vda", "/"}, Side{s.points[j], "vda", "/"}, DiffOptions{})
		if wrong := applyDiff(list, truths[i], truths[j]); len(wrong) > 0 {
			t.Errorf("days %d and %d:\n%s\nin %s", i, j, strings.Join(wrong, "\n"), tellAll(list))
		}
	}
}

func tellAll(list []api.FileDiff) string {
	var b strings.Builder
	for _, f := range list {
		fmt.Fprintf(&b, "\n%s %s %s %v %s", f.Change, f.From, f.Path, f.Details, f.Error)
	}
	return b.String()
}

// followLive compares a history with what was there, day by day.
func followLive(t *testing.T, p string, h *api.FileHistory, truths []map[string]fact) {
	t.Helper()
	sums := false
	for _, v := range h.Versions {
		sums = sums || v.SHA256 != ""
	}
	for day, got := range story(t, h) {
		want, there := truths[day][p]
		switch {
		case !there:
			if got.State != "absent" {
				t.Errorf("%s on day %d: %s (%s), it was absent", p, day, got.State, got.Error)
			}
		case want.kind == "link" && got.State == "link" && got.Target == want.target: // they lead nowhere
		case want.kind != got.State || got.Mode != fmt.Sprintf("%04o", want.mode) || got.UID*1000+got.GID != want.uid ||
			want.kind == "file" && (got.Size != want.size || sums && got.SHA256 != want.sum || got.Modified.UnixNano() != want.mtime):
			t.Errorf("%s on day %d: %+v, it was %+v", p, day, got, want)
		}
	}
	for i := 1; i < len(h.Versions); i++ { // contents change where it is said, with sums or without
		day := 0
		for _, v := range h.Versions[:i] {
			day += v.Points
		}
		a, b := truths[day-1][p], truths[day][p]
		if a.kind == "file" && b.kind == "file" && slices.Contains(h.Versions[i].Changes, "content") != (a.sum != b.sum) {
			t.Errorf("%s on day %d: %q, its content differed: %v", p, day, h.Versions[i].Changes, a.sum != b.sum)
		}
	}
}

// applyDiff says what is wrong about a diff of two days: every path of the second day must
// come from where the diff says, and differ in what it says.
func applyDiff(list []api.FileDiff, a, b map[string]fact) (wrong []string) {
	said := map[string]api.FileDiff{} // by path of the second day
	removed := map[string]bool{}
	for _, f := range list {
		if f.Change == "removed" {
			removed[f.Path] = true
			continue
		}
		said[f.Path] = f
	}
	used := map[string]string{}
	for p, now := range b {
		f, ok := said[p]
		if ok && f.Change == "added" {
			continue
		}
		from := originOf(p, said)
		was, there := a[from]
		if !there || removed[from] || used[from] != "" {
			wrong = append(wrong, fmt.Sprintf("%s cannot come from %s", p, from))
			continue
		}
		used[from] = p
		if f.Change == "replaced" {
			if was.kind == now.kind {
				wrong = append(wrong, p+" is no other type")
			}
			continue
		}
		want, got := was.details(now), slices.Sorted(slices.Values(f.Details))
		if was.kind != now.kind || !slices.Equal(want, got) && len(want)+len(got) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s, from %s, differs in %v; said are %v", p, from, want, got))
		}
	}
	for p := range a {
		if !removed[p] && used[p] == "" {
			wrong = append(wrong, p+" is gone, and nothing is said")
		}
	}
	return wrong
}

// originOf is where a path was on the first day, by what moved.
func originOf(p string, said map[string]api.FileDiff) string {
	rest := ""
	for at := p; at != "/"; at = path.Dir(at) {
		if f, ok := said[at]; ok && f.Change == "moved" {
			return path.Join(f.From, rest)
		}
		rest = path.Join(path.Base(at), rest)
	}
	return p
}
