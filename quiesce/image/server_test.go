package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

func TestTheReaderEndsWithItsContext(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img", "qemu-nbd")
	path := filepath.Join(t.TempDir(), "q")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "1G")
	ctx, cancel := context.WithCancel(t.Context())
	i, err := Open(ctx, Spec{Path: path, Format: "qcow2"})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-i.server.exited
	if _, err := i.ReadAt(make([]byte, 10), 0); err == nil {
		t.Error("read from a process that is gone")
	}
	i.Close()
	if _, err := Open(ctx, Spec{Path: path, Format: "qcow2"}); !errors.Is(err, context.Canceled) {
		t.Errorf("opened with a context that has ended: %v", err)
	}
}

func TestTheReaderDiesWithUs(t *testing.T) {
	needs.Tools(t, "qemu-img", "qemu-nbd")
	if path := os.Getenv("HOLDFAST_TEST_OPEN"); path != "" { // the one to be killed
		i := open(t, Spec{Path: path, Format: "qcow2"})
		fmt.Println(i.server.pid())
		select {}
	}
	path := filepath.Join(t.TempDir(), "q")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "1G")
	sockets := t.TempDir()
	victim := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	victim.Env = append(os.Environ(), "HOLDFAST_TEST_OPEN="+path, "TMPDIR="+sockets)
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var reader int
	_, err = fmt.Fscan(out, &reader)
	victim.Process.Kill()
	victim.Wait()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reader is gone", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", reader))
		return err != nil || strings.Contains(string(b), ") Z ")
	})
	if left, err := os.ReadDir(sockets); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
