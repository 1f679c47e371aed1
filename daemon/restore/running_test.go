package restore

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

func TestAnImageInUseIsNotReplacedEvenWithForce(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-nbd")
	folder := t.TempDir()
	file, pidFile := filepath.Join(folder, "vda.raw"), filepath.Join(folder, "pid")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "qemu-nbd", "--fork", "--persistent", "--format=raw", "--socket="+filepath.Join(folder, "s"), "--pid-file="+pidFile, file)
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	qemu, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer qemu.Kill()
	d := randomDisk("vda", 1<<20, 65536, 1)
	if _, err := Run(t.Context(), toFile(d, Raw, file), Options{Force: true}); err == nil || !strings.Contains(err.Error(), "running QEMU") {
		t.Errorf("error is %v", err)
	}
	sameFile(t, file, make([]byte, 1<<20))
}
