package nbd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

func qemuNBD(t testing.TB, args ...string) string {
	t.Helper()
	needs.Tools(t, "qemu-nbd")
	socket := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command("qemu-nbd", append([]string{"-t", "-r", "-e", "4", "-k", socket, "-x", "disk"}, args...)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil { // its name is there before it listens
			conn.Close()
			return socket
		}
	}
	t.Fatal("qemu-nbd did not open its socket")
	return ""
}

func TestQemuNBDGivesTheImagesBytesAndHoles(t *testing.T) {
	t.Parallel()
	const size = 16<<20 + 12345
	path := filepath.Join(t.TempDir(), "raw")
	want := make([]byte, size)
	random := rand.NewChaCha8(sha256.Sum256([]byte(t.Name())))
	random.Read(want[1<<20 : 3<<20])
	random.Read(want[size-100:])
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Truncate(size)
	f.WriteAt(want[1<<20:3<<20], 1<<20)
	f.WriteAt(want[size-100:], size-100)
	f.Close()

	socket := qemuNBD(t, "-f", "raw", path)
	names, err := listContexts(t.Context(), socket, "disk")
	if err != nil || !slices.Contains(names, BaseAllocation) {
		t.Errorf("contexts %q, %v", names, err)
	}
	c, err := Dial(t.Context(), socket, Options{Export: "disk", Contexts: []string{"qemu:dirty-bitmap:none", BaseAllocation}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.Contexts(); len(got) != 1 || got[0] != BaseAllocation {
		t.Errorf("contexts agreed on: %q", got)
	}
	if c.Size() < size || c.Size() > size+511 || c.Flags()&FlagReadOnly == 0 || c.Flags()&FlagMultiConn == 0 {
		t.Errorf("size %d, flags %#x", c.Size(), c.Flags())
	}

	got := make([]byte, size)
	var wg sync.WaitGroup
	const part = 3<<20 - 17
	for off := 0; off < size; off += part {
		wg.Go(func() {
			if _, err := c.ReadAt(got[off:min(off+part, size)], int64(off)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if !bytes.Equal(got, want) {
		t.Error("bytes differ")
	}

	data := int64(0)
	for off := int64(0); off < c.Size(); {
		status, err := c.BlockStatus(t.Context(), off, c.Size()-off)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range status[BaseAllocation] {
			if e.Offset != off {
				t.Fatalf("extent %+v, want offset %d", e, off)
			}
			if e.Flags&ZeroBytes == 0 {
				data += e.Length
			} else if end := min(e.Offset+e.Length, size); e.Offset < size && !bytes.Equal(want[e.Offset:end], make([]byte, end-e.Offset)) {
				t.Errorf("%+v is not zero", e)
			}
			off += e.Length
		}
	}
	if data < 2<<20 || data > 3<<20 {
		t.Errorf("%d bytes of data", data)
	}
	if _, err := Dial(context.Background(), socket, Options{Export: "another"}); err == nil {
		t.Error("entered an export that does not exist")
	}
}
