package power

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// TestAFileSystemThatTurnsReadOnlyWhileABackupRunsIsReadOn does to ext4 what an
// error of its disk does: it lets nothing be written any more.
func TestAFileSystemThatTurnsReadOnlyWhileABackupRunsIsReadOn(t *testing.T) {
	need(t, "mkfs.ext4", "losetup")
	r := seeded(t)
	image := filepath.Join(scratch(t), "image")
	makeFileSystem(t, image, fileSystems["ext4"])
	known := map[blockstore.PointID]bool{}
	at, unmount := mountImage(t, image)
	dir := filepath.Join(at, "vault")
	if _, err := blockstore.Create(t.Context(), dir, blockstore.CreateOptions{BlockSize: 16 << 10}); err != nil {
		t.Fatal(err)
	}
	cmd := child(t, childOrder{Vault: dir, Seed: r.Uint64()})
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stdout = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // until it is at work
		if b, err := os.ReadFile(said.Name()); err == nil && bytes.Contains(b, []byte("committed ")) {
			break
		}
		if time.Now().After(end) {
			t.Error("the process commits nothing")
			break
		}
	}
	text, err := exec.Command("mount", "-o", "remount,abort", at).CombinedOutput()
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		unmount()
		needs.Missing(t, "this kernel does not abort the file system: %v: %s", err, text)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the process did not end by itself: %v", err)
	}
	b, err := os.ReadFile(said.Name())
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.NewBuffer(b)
	hear(out, known)
	// What the kernel says of a journal that it gave up depends on the call.
	if !strings.Contains(out.String(), "read-only") && !strings.Contains(out.String(), "input/output error") {
		t.Errorf("the words do not say what is wrong: %q", out.String()[max(0, strings.LastIndex(out.String(), "failed")):])
	}
	v, err := blockstore.Open(t.Context(), dir, blockstore.Options{})
	if err != nil {
		t.Fatalf("while it is read-only: %v", err)
	}
	listed, _ := mustBeWhole(t, v)
	v.Close()
	for id := range known {
		if !listed[id] {
			t.Errorf("point %s cannot be seen while the file system is read-only", id)
		}
	}
	if _, err := blockstore.Own(t.Context(), dir, blockstore.OwnOptions{MinFree: -1}); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("an owner on a read-only file system: %v", err)
	}
	unmount()
	keepsWhatIsKnown(t, image, known, r)
}
