package luks

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const mib = 1 << 20

const passphrase = "correct horse battery staple"

func tool(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	if os.Getenv("HOLDFAST_CI") == "1" {
		t.Fatalf("%s is missing: integration/install-deps test installs it", name)
	}
	t.Skipf("%s is missing: integration/install-deps test installs it", name)
	return ""
}

func run(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool(t, name), args...)
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

// byCryptsetup returns a volume of version 2 that cryptsetup put around content.
func byCryptsetup(t testing.TB, content []byte, options ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "volume")
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

// byQEMU returns a volume of version 1 that QEMU, which has its own LUKS, put around content.
func byQEMU(t testing.TB, content []byte, options string) []byte {
	t.Helper()
	dir := t.TempDir()
	plain, volume := filepath.Join(dir, "plain"), filepath.Join(dir, "volume")
	if err := os.WriteFile(plain, content, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "", "qemu-img", "convert", "-f", "raw", "-O", "luks", "--object", "secret,id=s,data="+passphrase,
		"-o", "key-secret=s,iter-time=10,"+options, plain, volume)
	b, err := os.ReadFile(volume)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
