package bitlocker_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/bitlocker/bitlockertest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

const mib = 1 << 20

// written writes a volume to a file in memory, where there is one.
func written(t testing.TB, b []byte) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-bitlocker-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "volume")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// byDislocker is the plain content as dislocker reads it, and what it says meanwhile.
func byDislocker(t testing.TB, volume []byte, args ...string) ([]byte, string) {
	t.Helper()
	file := written(t, volume)
	out := filepath.Join(filepath.Dir(file), "plain")
	cmd := exec.CommandContext(t.Context(), needs.Tool(t, "dislocker-file"), append([]string{"-vvvv", "-r", "-V", file}, append(args, "--", out)...)...)
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("dislocker-file: %v: %s", err, said[max(0, len(said)-2000):])
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return b, string(said)
}

// cryptsetup runs it on a volume and returns what it says.
func cryptsetup(t testing.TB, volume []byte, secret string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), needs.Tool(t, "cryptsetup"), append(args, written(t, volume))...)
	cmd.Stdin = strings.NewReader(secret)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// content is n bytes with room for metadata, of which no two sectors are the same.
func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		if i < 1*mib || i > 3*mib && i < 4*mib || i > n-200_000 {
			b[i] = byte(i>>9 ^ i>>17 ^ i*7)
		}
	}
	return b
}

func same(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("%s: byte %d of %d (of %d) differs", what, i, len(got), len(want))
			return
		}
	}
	t.Errorf("%s: it has %d bytes, want %d", what, len(got), len(want))
}

var allMethods = map[string]uint16{"AES-CBC-128 with diffuser": bitlockertest.CBC128Elephant, "AES-CBC-256 with diffuser": bitlockertest.CBC256Elephant,
	"AES-CBC-128": bitlockertest.CBC128, "AES-CBC-256": bitlockertest.CBC256, "AES-XTS-128": bitlockertest.XTS128, "AES-XTS-256": bitlockertest.XTS256}
