package daemon

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/config"
)

// MaxSecret is how long a file of a key may be, in bytes.
const MaxSecret = 1 << 20

// unlocker returns what opens a vault, from the files that its configuration names; they are
// read when they are needed.
func unlocker(v config.Vault, getenv func(string) string) (*blockstore.Unlocker, error) {
	u := &blockstore.Unlocker{}
	for _, name := range v.Identity {
		text, err := SecretFile(name)
		if err != nil {
			return nil, fmt.Errorf("read identity: %w", err)
		}
		u.Identities = append(u.Identities, text)
	}
	file := v.PassphraseFile
	if v.Credential != "" {
		var err error
		if file, err = v.CredentialFile(getenv); err != nil {
			return nil, err
		}
	}
	if file != "" {
		u.Passphrase = func() (string, error) { return passphrase(file) }
	}
	return u, nil
}

// passphrase is the first line of a file.
func passphrase(name string) (string, error) {
	text, err := SecretFile(name)
	if err != nil {
		return "", fmt.Errorf("read passphrase: %w", err)
	}
	line, _, _ := strings.Cut(text, "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("passphrase file %s: its first line is empty", name)
	}
	return line, nil
}

// SecretFile reads a file of a passphrase or of keys, of at most 1 MiB.
func SecretFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxSecret+1))
	if err == nil && len(b) > MaxSecret {
		err = fmt.Errorf("%s is larger than 1 MiB: that is no file of a key", name)
	}
	return string(b), err
}
