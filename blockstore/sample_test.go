package blockstore

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// scratch is a folder in memory where there is one: these tests sync a lot.
func scratch(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func vaultIn(t testing.TB, blockSize int) string {
	t.Helper()
	dir := filepath.Join(scratch(t), "vault")
	if _, err := Create(t.Context(), dir, CreateOptions{BlockSize: blockSize}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyVault copies a vault without its index, which the next owner makes anew.
func copyVault(t testing.TB, from string) string {
	t.Helper()
	return copyVaultWith(t, from, Options{})
}

// copyVaultWith copies one that is opened by options.
func copyVaultWith(t testing.TB, from string, o Options) string {
	t.Helper()
	to := filepath.Join(scratch(t), "vault")
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, p)
		if d.IsDir() {
			if rel == indexDir {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	forgetPlace(t, to, o)
	return to
}

// sample is a vault and what its points held.
type sample struct {
	dir   string
	want  map[PointID]map[string][]byte // disks; configuration as config/NAME
	files map[string]string             // one of each kind, by kind; another of the kind under kind + " 2"
	last  []byte                        // what web1's disk held last

	identity, recipient string // open a sealed vault; "": it is not sealed
}

// options open the sample.
func (s *sample) options() Options {
	if s.identity == "" {
		return Options{}
	}
	return Options{Unlock: &Unlocker{Identities: []string{s.identity}}}
}

// create makes an empty vault as the sample's is.
func (s *sample) create(t *testing.T) string {
	t.Helper()
	if s.identity == "" {
		return vaultIn(t, sampleBlock)
	}
	dir := filepath.Join(scratch(t), "vault")
	if _, err := Create(t.Context(), dir, CreateOptions{BlockSize: sampleBlock, Seal: []SealWith{{Recipient: s.recipient}}}); err != nil {
		t.Fatal(err)
	}
	return dir
}

const sampleBlock = 16 << 10

// makeSample writes a vault of two machines, each with several points, so that
// every kind of file is there at least twice.
func makeSample(t *testing.T) *sample {
	s := &sample{}
	s.make(t)
	return s
}

// makeSealedSample writes the same, sealed.
func makeSealedSample(t *testing.T) *sample {
	t.Helper()
	s := &sample{}
	var err error
	if s.identity, s.recipient, err = NewIdentity(); err != nil {
		t.Fatal(err)
	}
	s.make(t)
	return s
}

func (s *sample) make(t *testing.T) {
	t.Helper()
	s.dir, s.want, s.files = s.create(t), map[PointID]map[string][]byte{}, map[string]string{}
	r := rand.New(rand.NewPCG(42, 0))
	o := ownVault(t, s.dir, OwnOptions{Options: s.options()})
	s.last = make([]byte, 130*sampleBlock+100) // two levels of pages
	db := make([]byte, 40*sampleBlock)
	fill(r, db, len(db))
	var points []*Point
	for range 3 {
		for range 3 {
			fill(r, s.last, 200<<10)
		}
		p := backUp(t, o, "web1", map[string]Source{"vda": memory(bytes.Clone(s.last))})
		s.want[p.ID] = map[string][]byte{"vda": bytes.Clone(s.last), "config/domain.xml": []byte("<domain>web1</domain>")}
		points = append(points, p)
		fill(r, db, 50<<10)
		p = backUp(t, o, "db1", map[string]Source{"vda": memory(bytes.Clone(s.last)), "vdb": memory(bytes.Clone(db))})
		s.want[p.ID] = map[string][]byte{"vda": bytes.Clone(s.last), "vdb": bytes.Clone(db), "config/domain.xml": []byte("<domain>db1</domain>")}
	}
	s.note(t, o, points)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// note writes attributes and remembers one file of each kind.
func (s *sample) note(t *testing.T, o *Owner, points []*Point) {
	t.Helper()
	for i, p := range points[:2] {
		name := attrPath(p.Machine, p.ID, 1)
		if err := o.writeRecord(attributeKind, name, Attribute{Kind: Note, Point: p.ID, Seq: 1, Time: time.Now(), Text: "kept"}); err != nil {
			t.Fatal(err)
		}
		s.files["attribute"+[]string{"", " 2"}[i]] = name
		s.files["point"+[]string{"", " 2"}[i]] = pointPath(p.Machine, p.Seq, p.ID)
	}
	machines, err := o.Machines(t.Context())
	if err != nil || len(machines) != 2 {
		t.Fatalf("%d machines, %v", len(machines), err)
	}
	for i, m := range machines {
		names, _ := o.dir.List(path.Join(machinesDir, string(m.ID)))
		s.files["machine"+[]string{"", " 2"}[i]] = path.Join(machinesDir, string(m.ID), names[0])
	}
	s.files["VAULT"] = o.name
	s.files["OWNER"] = ownerPath(o.claim.owner.Writer)
	tables := o.tables.Load().tables
	s.files["segment"], s.files["segment 2"] = tables[len(tables)-1].Name, tables[0].Name
	for _, t := range slices.Backward(tables) {
		for _, p := range t.Packs {
			kind := map[pack.Class]string{pack.Blocks: "pack of blocks", pack.Pages: "pack of pages"}[pack.Class(p.Class)]
			if s.files[kind] != "" {
				kind += " 2"
			}
			s.files[kind] = packPath(writerID(t.Writer), p.ID)
		}
	}
}
