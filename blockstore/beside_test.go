package blockstore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
)

// TestTwiceTheFloorStaysFreeWhereDisksOfMachinesLie fills a file system of its own
// to between the floor and twice that.
func TestTwiceTheFloorStaysFreeWhereDisksOfMachinesLie(t *testing.T) {
	at := mountExt4(t, 128)
	dir, image := filepath.Join(at, "vault"), filepath.Join(at, "web1.raw")
	if _, err := Create(t.Context(), dir, CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	d := backend.NewDir(dir)
	free, total, err := d.Space()
	if err != nil {
		t.Fatal(err)
	}
	floor := max(backend.Floor(total), leastIndexRoom(total))
	if err := d.Allocate("ballast", free-floor-backend.Floor(total)/2); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "web1.raw")
	for _, name := range []string{image, elsewhere} {
		if err := os.WriteFile(name, []byte("a disk"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		beside  string
		minFree int64
		full    bool
	}{{elsewhere, 0, false}, {image, 0, true}, {image, 1 << 20, false}, {"/dev/null", 0, false}, {"/not there", 0, false}} {
		o, err := Own(t.Context(), dir, OwnOptions{MinFree: test.minFree})
		if err != nil {
			t.Fatal(err)
		}
		b, err := o.Begin(t.Context(), BackupOptions{Machine: "web1", Time: time.Now(), Beside: []string{test.beside}})
		if errors.Is(err, ErrFull) != test.full || err != nil && !test.full || (o.Beside() == image) != test.full {
			t.Errorf("beside %s, %d to be left free: %v; beside %q", test.beside, test.minFree, err, o.Beside())
		}
		if b != nil {
			b.Abort()
		}
		mustClose(t, o)
	}
}
