package history

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// scratch is a folder in memory, where there is one.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "history")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// store is a vault with an owner that adds points, one a day.
type store struct {
	t      testing.TB
	dir    string
	owner  *blockstore.Owner
	day    time.Time
	last   map[string]map[string]*image // by machine: what the disks of its last point hold
	points []*blockstore.Point
}

func newStore(t testing.TB) *store {
	t.Helper()
	s := &store{t: t, dir: filepath.Join(scratch(t), "vault"), day: time.Date(2025, 1, 1, 22, 0, 0, 0, time.UTC), last: map[string]map[string]*image{}}
	if _, err := blockstore.Create(t.Context(), s.dir, blockstore.CreateOptions{BlockSize: 16 << 10}); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.owner, err = blockstore.Own(t.Context(), s.dir, blockstore.OwnOptions{MinFree: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.owner.Close() })
	return s
}

// disk is one to back up.
type disk struct {
	name string
	data *image
}

// add makes a point of the disks as they are, a day after the last one.
func (s *store) add(machine string, disks ...disk) *blockstore.Point {
	s.t.Helper()
	ctx := context.Background()
	b, err := s.owner.Begin(ctx, blockstore.BackupOptions{Machine: machine, Time: s.day, Reached: blockstore.Crash})
	if err != nil {
		s.t.Fatal(err)
	}
	defer b.Abort()
	now := map[string]*image{}
	for _, d := range disks {
		source := &changed{d.data, s.last[machine][d.name]}
		if err := b.AddDisk(ctx, blockstore.DiskInfo{Name: d.name, Size: d.data.size, Format: "raw", LogicalSector: 512}, source, nil); err != nil {
			s.t.Fatal(err)
		}
		now[d.name] = d.data
	}
	s.last[machine] = now
	p, err := b.Commit(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	s.day = s.day.AddDate(0, 0, 1)
	s.points = append(s.points, p)
	return p
}

// open opens the vault as who only reads does.
func (s *store) open() *blockstore.Vault {
	s.t.Helper()
	v, err := blockstore.Open(s.t.Context(), s.dir, blockstore.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { v.Close() })
	return v
}

func needTool(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("CI") != "" || os.Getenv("HOLDFAST_CI") != "" {
			t.Fatalf("%s is missing: integration/install-deps test installs it", name)
		}
		t.Skipf("%s is missing", name)
	}
}

func sh(t testing.TB, stdin, script string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", append([]string{"-ec", script, "sh"}, args...)...)
	c.Stdin = bytes.NewReader([]byte(stdin))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(path string, b []byte) error { return os.WriteFile(path, b, 0o644) }
