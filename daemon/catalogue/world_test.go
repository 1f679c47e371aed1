package catalogue

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// world is a machine whose files change from point to point, and what each of its points
// holds.
type world struct {
	t      testing.TB
	dir    string
	o      *blockstore.Owner
	r      *rand.Rand
	set    *treetest.Set
	now    map[string]Attr // by path in the guest's root
	ino    uint64
	points []*blockstore.Point
	held   []map[string]Attr // by point
	at     time.Time

	searches int
}

func newWorld(t testing.TB, seed uint64, seal ...blockstore.SealWith) *world {
	t.Helper()
	w := &world{t: t, dir: path.Join(t.TempDir(), "v"), r: rand.New(rand.NewPCG(seed, 1)), set: &treetest.Set{},
		now: map[string]Attr{"/": {Mode: 0o40755, Timed: true, Sec: 1, Ino: 2}}, ino: 2, at: time.Date(2026, 1, 1, 3, 0, 0, 0, time.UTC)}
	if _, err := blockstore.Create(t.Context(), w.dir, blockstore.CreateOptions{BlockSize: 16 << 10, Seal: seal}); err != nil {
		t.Fatal(err)
	}
	w.open(len(seal) > 0)
	t.Cleanup(func() { w.o.Close() })
	w.put("/etc", Attr{Mode: 0o40755})
	w.put("/etc/fstab", Attr{Mode: 0o100644})
	return w
}

const worldPass = "a passphrase"

func (w *world) open(sealed bool) {
	w.t.Helper()
	opts := blockstore.OwnOptions{MinFree: -1}
	if sealed {
		opts.Unlock = &blockstore.Unlocker{Passphrase: func() (string, error) { return worldPass, nil }}
	}
	var err error
	if w.o, err = blockstore.Own(context.WithoutCancel(w.t.Context()), w.dir, opts); err != nil {
		w.t.Fatal(err)
	}
}

// put makes a file, or changes one.
func (w *world) put(name string, a Attr) {
	if a.Ino = w.now[name].Ino; a.Ino == 0 {
		w.ino++
		a.Ino = w.ino
	}
	if !a.Timed {
		a.Timed, a.Sec, a.Nsec = true, w.at.Unix(), uint32(w.r.IntN(1e9))
	}
	w.now[name] = a
}

// remove takes a path away, with all below it.
func (w *world) remove(name string) {
	for p := range w.now {
		if p == name || strings.HasPrefix(p, name+"/") {
			delete(w.now, p)
		}
	}
}

// move gives a path, with all below it, another name.
func (w *world) move(from, to string) {
	moved := map[string]Attr{}
	for p, a := range w.now {
		if p == from || strings.HasPrefix(p, from+"/") {
			moved[to+p[len(from):]] = a
		}
	}
	w.remove(from)
	w.remove(to)
	maps.Copy(w.now, moved)
}

func (w *world) random(keep func(Attr) bool) string {
	var names []string
	for _, p := range slices.Sorted(maps.Keys(w.now)) {
		if keep(w.now[p]) && p != "/" && !strings.HasPrefix(p, "/etc") {
			names = append(names, p)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return names[w.r.IntN(len(names))]
}

func isFolder(a Attr) bool { return a.Mode&typeMask == 0o40000 }
func anything(Attr) bool   { return true }

var worldNames = []string{"report-%d.xlsx", "a%d", "b\xff%d", "ü%d.txt", "x y\n%d", "log.%d", "-%d"}

// change does what a day does to the files.
func (w *world) change(n int) {
	for range n {
		folder := w.random(isFolder)
		name := folder + "/" + fmt.Sprintf(worldNames[w.r.IntN(len(worldNames))], w.r.IntN(30))
		switch k := w.r.IntN(10); {
		case k < 3:
			w.put(name, Attr{Mode: 0o100600 + uint32(w.r.IntN(8)), UID: uint32(w.r.IntN(3)), Size: w.r.Int64N(1 << 40)})
		case k < 4:
			if _, there := w.now[name]; !there && strings.Count(name, "/") < 6 {
				w.put(name, Attr{Mode: 0o40700})
			}
		case k < 7:
			if at := w.random(func(a Attr) bool { return !isFolder(a) }); at != "" {
				w.put(at, Attr{Mode: w.now[at].Mode, Size: w.r.Int64N(1 << 20)})
			}
		case k < 9:
			if at := w.random(anything); at != "" {
				w.remove(at)
			}
		default:
			if from := w.random(anything); from != "" && !strings.HasPrefix(name+"/", from+"/") {
				w.move(from, name)
			}
		}
		w.fix()
	}
}

// fix takes away what lies in files, or nowhere.
func (w *world) fix() {
	for _, p := range slices.Sorted(maps.Keys(w.now)) {
		if up, there := w.now[path.Dir(p)]; p != "/" && (!there || !isFolder(up)) {
			delete(w.now, p)
		}
	}
}

// tree is what there is, as a file system.
func (w *world) tree() *treetest.FS {
	f := treetest.New("ext4")
	for _, p := range slices.Sorted(maps.Keys(w.now)) {
		a := w.now[p]
		n := f.Nodes[2]
		if p != "/" {
			n = f.Add(p[1:], a.Mode, "")
			n.Ino = a.Ino
		}
		n.Attr = tree.Attr{Ino: n.Ino, Mode: a.Mode, UID: a.UID, GID: a.GID, Size: a.Size, Mtime: a.Modified()}
	}
	return renumber(f, w)
}

// renumber gives nodes the inodes that the world knows.
func renumber(f *treetest.FS, w *world) *treetest.FS {
	out := treetest.New("ext4")
	out.Nodes = map[uint64]*treetest.Node{}
	var walk func(old *treetest.Node, at string)
	walk = func(old *treetest.Node, at string) {
		n := *old
		n.Ino = w.now[at].Ino
		out.Nodes[n.Ino] = &n
		n.Entries = slices.Clone(old.Entries)
		w.r.Shuffle(len(n.Entries), func(i, j int) { n.Entries[i], n.Entries[j] = n.Entries[j], n.Entries[i] })
		for i, e := range n.Entries {
			below := path.Join(at, e.Name)
			child := f.Nodes[e.Ino]
			walk(child, below)
			n.Entries[i].Ino = w.now[below].Ino
		}
		out.Nodes[n.Ino].Entries = n.Entries
	}
	walk(f.Nodes[2], "/")
	return out
}

// point backs up what there is.
func (w *world) point() *blockstore.Point {
	w.t.Helper()
	return w.pointOf(w.set.Image(w.tree(), 16<<10))
}

func (w *world) pointOf(disk []byte) *blockstore.Point {
	w.t.Helper()
	ctx := w.t.Context()
	b, err := w.o.Begin(ctx, blockstore.BackupOptions{Machine: "web1", Time: w.at, Reached: blockstore.Crash})
	if err != nil {
		w.t.Fatal(err)
	}
	defer b.Abort()
	if err := b.AddDisk(ctx, blockstore.DiskInfo{Name: "vda", Size: int64(len(disk)), Format: "raw"}, memory{bytes.NewReader(disk)}, nil); err != nil {
		w.t.Fatal(err)
	}
	p, err := b.Commit(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	w.points, w.held = append(w.points, p), append(w.held, maps.Clone(w.now))
	w.at = w.at.Add(24 * time.Hour)
	return p
}

func (w *world) options() Options {
	return Options{Scratch: w.t.TempDir(), Memory: 4 << 10, Longest: 7, guest: func(p *blockstore.Point) *guestfs.Guest {
		return fusefs.OpenGuest(fusefs.FromVault(w.o.Vault), p, guestfs.Options{Formats: []tree.Format{w.set.Format()}})
	}}
}

func (w *world) build(p *blockstore.Point) *Built {
	w.t.Helper()
	b, err := Build(w.t.Context(), w.o, p, w.options())
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) look() *Coverage {
	w.t.Helper()
	c, err := Look(w.o.Vault, w.points[0].Machine, w.points)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// hits is what a search finds, by path.
func (w *world) hits(q Query) (map[string]Hit, *Searched) {
	w.t.Helper()
	w.searches++
	found := map[string]Hit{}
	last := ""
	s, err := Search(w.t.Context(), w.o.Vault, w.look(), q, SearchOptions{Scratch: w.t.TempDir(), Memory: 8 << 10, Workers: 2, narrowFrom: int64(w.searches % 3 * 40)}, func(h *Hit) error {
		if key := string(appendKey(nil, h.Volume, h.Path)); key < last {
			w.t.Errorf("%q comes after %q", key, last)
		} else {
			last = key
		}
		found[h.Path] = *h
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return found, s
}

// expect compares what a search finds with what the points hold. Some points have no
// catalogue.
func (w *world) expect(q Query) *Searched {
	w.t.Helper()
	got, s := w.hits(q)
	want := w.want(q, s.Points)
	for p, h := range want {
		if !reflect.DeepEqual(got[p], h) {
			w.t.Errorf("%q:\n got %v\nwant %v", p, got[p], h)
		}
	}
	if len(got) != len(want) || int(s.Hits) != len(want) {
		w.t.Errorf("%d found and %d told, want %d", len(got), s.Hits, len(want))
	}
	return s
}

// want is the answer found the slow way.
func (w *world) want(q Query, points []*blockstore.Point) map[string]Hit {
	m := newMatcher(q)
	hits := map[string]Hit{}
	paths := map[string]bool{}
	for _, held := range w.held {
		for p := range held {
			paths[p] = true
		}
	}
	for p := range paths {
		if !m.fits(appendKey(nil, "", p)) {
			continue
		}
		h := Hit{Path: p}
		was := false
		for _, at := range points {
			a, is := w.held[slices.Index(w.points, at)][p]
			n := len(h.Versions)
			switch {
			case is && was && h.Versions[n-1].sameVersion(a):
				v := &h.Versions[n-1]
				v.Last, v.Attr = at, a
				v.Points++
			case is:
				h.Versions = append(h.Versions, Version{Attr: a, First: at, Last: at, Points: 1})
			}
			was = is
		}
		h.Deleted = !was
		h.Versions = slices.DeleteFunc(h.Versions, func(v Version) bool { return !q.version(v.Attr) })
		if len(h.Versions) > 0 && (h.Deleted || !q.Deleted) {
			hits[p] = h
		}
	}
	return hits
}

// memory is a disk.
type memory struct{ *bytes.Reader }

func (m memory) Size() int64 { return m.Reader.Size() }

func (m memory) Extents(_ context.Context, fn func(blockstore.Extent) error) error {
	return fn(blockstore.Extent{Length: m.Size()})
}
