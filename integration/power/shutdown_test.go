package power

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// backUpForEver backs up, deletes and sweeps, and says which points are
// committed, until its process is killed or its file system is gone.
func backUpForEver(order childOrder) error {
	ctx, r := context.Background(), rand.New(rand.NewPCG(order.Seed, 1))
	o, err := blockstore.Own(ctx, order.Vault, blockstore.OwnOptions{MinFree: -1})
	if err != nil {
		return err
	}
	d := make(disk, 2<<20)
	for round := 0; ; round++ {
		change(d, r)
		p, err := backUp(ctx, o, fmt.Sprint("vm", round%3), d)
		if err != nil {
			fmt.Println("failed:", err)
			return nil // by then the file system is gone
		}
		fmt.Printf("committed %s\n", p.ID)
		if round%7 == 6 {
			if _, err := o.Sweep(ctx, blockstore.SweepOptions{Now: true, Full: true}); err != nil {
				fmt.Println("failed:", err)
				return nil
			}
		}
	}
}

// TestAFileSystemThatIsShutDownAtAnInstantKeepsWhatWasCommitted ends a file
// system without a flush of its log while backups run, again and again.
func TestAFileSystemThatIsShutDownAtAnInstantKeepsWhatWasCommitted(t *testing.T) {
	for name, mkfs := range fileSystems {
		t.Run(name, func(t *testing.T) {
			need(t, mkfs[0], "losetup", "xfs_io")
			r := seeded(t)
			image := filepath.Join(scratch(t), "image")
			makeFileSystem(t, image, mkfs)
			known, first := map[blockstore.PointID]bool{}, true
			for round := range rounds(2, 5, 60) {
				free := shutDown(t, image, first, known, r)
				t.Logf("round %d: %d points, %d MiB free", round, len(known), free>>20)
				if t.Failed() {
					t.Fatalf("in round %d", round)
				}
				if first = free < roomForARound; first { // no point is ever dropped
					makeFileSystem(t, image, mkfs)
					clear(known)
				}
			}
		})
	}
}

// roomForARound is the free space below which a round may end with a full vault,
// which is not what is asked here.
const roomForARound = 96 << 20

// shutDown is one round. It returns the bytes that are free then.
func shutDown(t *testing.T, image string, first bool, known map[blockstore.PointID]bool, r *rand.Rand) (free int64) {
	t.Helper()
	at, unmount := mountImage(t, image)
	dir := filepath.Join(at, "vault")
	if first {
		if _, err := blockstore.Create(t.Context(), dir, blockstore.CreateOptions{BlockSize: 16 << 10}); err != nil {
			t.Fatal(err)
		}
	}
	cmd := child(t, childOrder{Vault: dir, Seed: r.Uint64()})
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50*time.Millisecond + time.Duration(r.Int64N(int64(600*time.Millisecond))))
	text, err := exec.Command("xfs_io", "-x", "-c", "shutdown", at).CombinedOutput()
	cmd.Process.Kill()
	cmd.Wait()
	unmount()
	if err != nil {
		needs.Missing(t, "this kernel does not shut the file system down: %v: %s", err, text)
	}
	hear(&out, known)
	return keepsWhatIsKnown(t, image, known, r)
}

// hear notes the points that a child said it committed.
func hear(out *bytes.Buffer, known map[blockstore.PointID]bool) {
	for line := range strings.Lines(out.String()) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "committed "); ok {
			known[blockstore.PointID(id)] = true
		}
	}
}

func keepsWhatIsKnown(t *testing.T, image string, known map[blockstore.PointID]bool, r *rand.Rand) (free int64) {
	t.Helper()
	at, unmount := mountImage(t, image)
	defer unmount()
	dir := filepath.Join(at, "vault")
	v, err := blockstore.Open(t.Context(), dir, blockstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	listed, _ := mustBeWhole(t, v)
	v.Close()
	again, _ := goesOn(t, dir, r)
	for id := range known {
		if !listed[id] || !again[id] {
			t.Errorf("point %s was committed: listed %v, and by the next owner %v", id, listed[id], again[id])
		}
	}
	for id := range again {
		known[id] = true
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}
