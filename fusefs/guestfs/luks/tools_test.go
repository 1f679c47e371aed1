package luks

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

const mib = 1 << 20

const passphrase = "correct horse battery staple"

func run(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), needs.Tool(t, name), args...)
	cmd.Stdin = bytes.NewReader([]byte(stdin))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

// random returns n bytes that no cipher makes of others by chance.
func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// scratch is a folder in memory, where there is one: cryptsetup syncs each step.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-luks-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// byCryptsetup returns a volume of version 2 that cryptsetup put around content.
func byCryptsetup(t testing.TB, content []byte, options ...string) []byte {
	t.Helper()
	file := filepath.Join(scratch(t), "volume")
	if err := os.WriteFile(file, append(bytes.Clone(content), make([]byte, 32*mib)...), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"reencrypt", "--encrypt", "--type", "luks2", "--batch-mode", "--disable-locks", "--force-offline-reencrypt",
		"--reduce-device-size", "32M", "--key-file", "-", file}, options...)
	run(t, passphrase, "cryptsetup", args...)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// cheap are options that make a key slot fast to open.
var cheap = []string{"--pbkdf-force-iterations", "4", "--pbkdf-memory", "64", "--pbkdf-parallel", "1"}
