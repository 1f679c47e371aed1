package history

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// truth is what a path holds on a day, as whoever changed it knows.
type truth struct {
	kind    string // "" absent
	content []byte
	mode    string
	target  string
	serial  int // of its time of change
}

// guest is an ext4 that debugfs changes day by day, and what should be in it.
type guest struct {
	t      testing.TB
	image  string
	dir    string
	script strings.Builder
	files  map[string]truth
	serial int
}

func newGuest(t testing.TB, options, size string) *guest {
	t.Helper()
	needTool(t, "mkfs.ext4", "debugfs")
	dir := scratch(t)
	g := &guest{t: t, image: filepath.Join(dir, "image"), dir: dir, files: map[string]truth{}}
	sh(t, "", `mkdir "$2/root" "$2/root/etc" "$2/root/var"
		head -c 1000 /dev/zero | tr '\0' x >"$2/root/etc/os-release"
		truncate -s `+size+` "$1"; mkfs.ext4 -q -F -b 1024 `+options+` -d "$2/root" "$1"`, g.image, dir)
	return g
}

func (g *guest) say(format string, args ...any) { fmt.Fprintf(&g.script, format+"\n", args...) }

// write replaces a file, as an editor does: by a new inode.
func (g *guest) write(path string, content []byte) {
	g.remove(path)
	g.serial++
	from := filepath.Join(g.dir, fmt.Sprintf("content-%d", g.serial))
	if err := writeFile(from, content); err != nil {
		g.t.Fatal(err)
	}
	g.say("write %s %s", from, path)
	g.say("sif %s mode 0100644", path)
	g.say("sif %s mtime @%d", path, 1700000000+g.serial)
	g.files[path] = truth{kind: "file", content: content, mode: "0644", serial: g.serial}
}

func (g *guest) remove(path string) {
	if g.files[path].kind != "" {
		g.say("rm %s", path)
	}
	delete(g.files, path)
}

func (g *guest) chmod(path, mode string) {
	g.say("sif %s mode 010%s", path, mode)
	f := g.files[path]
	f.mode = mode
	g.files[path] = f
}

func (g *guest) symlink(path, target string) {
	g.remove(path)
	g.serial++
	g.say("symlink %s %s", path, target)
	g.say("sif %s mtime @%d", path, 1700000000+g.serial)
	g.files[path] = truth{kind: "link", target: target, serial: g.serial}
}

// rename is a second name and the removal of the first.
func (g *guest) rename(from, to string) {
	g.remove(to)
	g.say("ln %s %s", from, to)
	g.say("unlink %s", from)
	g.files[to] = g.files[from]
	delete(g.files, from)
}

// night lets debugfs do the day's work, and returns the disk.
func (g *guest) night() *image {
	g.t.Helper()
	if g.script.Len() > 0 {
		out := sh(g.t, g.script.String(), `debugfs -w -f - "$1" 2>&1`, g.image)
		if strings.Contains(out, "File not found") || strings.Contains(out, "nvalid") || strings.Contains(out, "rror") {
			g.t.Fatalf("debugfs: %s\n%s", g.script.String(), out)
		}
		g.script.Reset()
	}
	return readImage(g.t, g.image)
}

// story is what a history says of each point.
func story(t testing.TB, h *api.FileHistory) []api.FileVersion {
	t.Helper()
	var list []api.FileVersion
	for _, v := range h.Versions {
		for range v.Points {
			list = append(list, v)
		}
	}
	return list
}

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// TestTheHistoryOfEachFileOfAYearIsWhatWasDoneToIt makes a point a day, with known
// changes, and asks for the history of many paths: each point of it must say what the
// file was on that day.
func TestTheHistoryOfEachFileOfAYearIsWhatWasDoneToIt(t *testing.T) {
	t.Parallel()
	days := 365
	if testing.Short() {
		days = 60
	}
	seed := uint64(20251123)
	r := rand.New(rand.NewPCG(seed, 1))
	g := newGuest(t, "-O inline_data,metadata_csum", "16M")
	s := newStore(t)
	paths := []string{"/etc/still", "/etc/passwd", "/etc/os-release", "/var/large", "/var/log", "/etc/never", "/var/gone", "/etc/tiny"}
	for i := range 12 {
		paths = append(paths, fmt.Sprintf("/var/f%d", i))
	}
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	g.files["/etc/os-release"] = truth{kind: "file", content: []byte(strings.Repeat("x", 1000)), mode: "0644"}
	g.write("/etc/still", random(300_000))
	g.write("/var/large", random(500_000))
	g.write("/etc/passwd", []byte("root:x:0:0\n"))
	g.write("/etc/tiny", []byte("in the inode"))
	var want []map[string]truth
	for day := range days {
		switch {
		case day%30 == 17:
			g.write("/etc/passwd", append(g.files["/etc/passwd"].content, fmt.Sprintf("user%d:x:%d:\n", day, day)...))
		case day == 100%days:
			g.write("/var/gone", random(5000))
		case day == 200%days:
			g.remove("/var/gone")
		case day%41 == 3:
			g.write("/etc/tiny", []byte(fmt.Sprint("day ", day)))
		}
		g.write("/var/log", append(g.files["/var/log"].content, random(200)...))
		for range r.IntN(4) {
			one, other := fmt.Sprintf("/var/f%d", r.IntN(12)), fmt.Sprintf("/var/f%d", r.IntN(12))
			switch kind := g.files[one].kind; r.IntN(6) {
			case 0, 1:
				g.write(one, random(r.IntN(40_000)))
			case 2:
				g.remove(one)
			case 3:
				if kind == "file" {
					g.chmod(one, []string{"0600", "0644", "4755"}[r.IntN(3)])
				}
			case 4:
				g.symlink(one, "nowhere")
			case 5:
				if kind == "file" && one != other {
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
	for _, path := range paths {
		h, err := File(t.Context(), v, s.points, FileOptions{Path: path})
		if err != nil {
			t.Fatalf("%s (seed %d): %v", path, seed, err)
		}
		for day, got := range story(t, h) {
			compareDay(t, path, day, got, want[day][path])
		}
		checkVersions(t, path, h, s.points)
	}
	unchanged(t, s, "/etc/still", days)
}

func compareDay(t *testing.T, path string, day int, got api.FileVersion, want truth) {
	t.Helper()
	if want.kind == "" {
		if got.State != "absent" {
			t.Errorf("%s on day %d: %s (%s), it was absent", path, day, got.State, got.Error)
		}
		return
	}
	if got.State != want.kind || got.Target != want.target {
		t.Errorf("%s on day %d: %s to %q (%s), it was %s to %q", path, day, got.State, got.Target, got.Error, want.kind, want.target)
		return
	}
	if want.kind == "file" && (got.SHA256 != sumOf(want.content) || got.Size != int64(len(want.content)) || got.Mode != want.mode) {
		t.Errorf("%s on day %d: %d bytes, mode %s, %.8s; they were %d, %s, %.8s", path, day,
			got.Size, got.Mode, got.SHA256, len(want.content), want.mode, sumOf(want.content))
	}
}

// checkVersions demands that versions follow one another without gaps, and differ.
func checkVersions(t *testing.T, path string, h *api.FileHistory, points []*blockstore.Point) {
	t.Helper()
	next := 0
	for i, v := range h.Versions {
		last := next + v.Points - 1
		if last >= len(points) || v.First.ID != string(points[next].ID) || v.Last.ID != string(points[last].ID) {
			t.Fatalf("%s: version %d goes from %s to %s over %d points, after %d others", path, i, v.First.ID, v.Last.ID, v.Points, next)
		}
		next = last + 1
		if i > 0 && len(v.Changes) == 0 || i == 0 && len(v.Changes) > 0 {
			t.Errorf("%s: version %d says that these differ: %q", path, i, v.Changes)
		}
	}
	if next != len(points) {
		t.Errorf("%s: versions of %d points of %d", path, next, len(points))
	}
}

// unchanged asks for what a file costs that never changed.
func unchanged(t *testing.T, s *store, path string, days int) {
	t.Helper()
	h, err := File(t.Context(), s.open(), s.points, FileOptions{Path: path})
	if err != nil || len(h.Versions) != 1 || h.Points != days {
		t.Fatalf("%s: %+v, %v", path, h, err)
	}
	t.Logf("%s: %+v", path, h.Cost)
	if c := h.Cost; c.Blocks > c.DiskBlocks/20 {
		t.Errorf("a file that did not change in %d points took %d blocks of %d", days, c.Blocks, c.DiskBlocks)
	}
}
