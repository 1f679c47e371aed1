package blockstore

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// A vault can be sealed for a public key, so whoever can write into its folder
// can put another one there that the same key opens, and read what is backed up
// into it. So a host remembers which sealed vault it wrote at a path, the first time that
// it does, as ssh remembers hosts. The secret tells vaults apart, which nobody
// who puts another one there knows.

// OtherVaultError reports a vault that is not the one that this host wrote at
// its path before. TakeOver makes it known.
type OtherVaultError struct {
	Vault string  // path
	ID    VaultID // of the vault that is there
	Known VaultID // of the one that was written before
	File  string  // where that is remembered
}

func (e *OtherVaultError) Error() string {
	return fmt.Sprintf("vault %s (id %s) is not the vault that this host wrote there before (id %s, remembered in %s): somebody may have put it there to read what is backed up",
		e.Vault, e.ID, e.Known, e.File)
}

// knownVaults is what a host remembers of a path, a JSON object in a file of its
// own.
type knownVaults struct {
	Path   string       `json:"path"`
	Vaults []knownVault `json:"vaults"` // the last was written last
}

type knownVault struct {
	ID          VaultID   `json:"id"`
	Fingerprint string    `json:"fingerprint"` // of its secret
	Since       time.Time `json:"since"`
}

func (k *knownVaults) has(fingerprint string) bool {
	for _, v := range k.Vaults {
		if v.Fingerprint == fingerprint {
			return true
		}
	}
	return false
}

// knownFile is where it is remembered which vaults were written at a path; ""
// when nothing is.
func (v *Vault) knownFile() (file, path string) {
	if path = locate(v.dir.Root()).Path; v.known == "" || path == "" {
		return "", path
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(v.known, hex.EncodeToString(sum[:16])+".json"), path
}

func readKnown(file string) (k knownVaults, err error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	if err != nil {
		return k, fmt.Errorf("which vault was written here before, in %s: %w; remove that file if this is the right one", file, err)
	}
	return k, nil
}

// checkKnown returns an *OtherVaultError for a vault at whose path another one,
// sealed, was written before.
func (v *Vault) checkKnown() error {
	file, path := v.knownFile()
	if file == "" {
		return nil
	}
	k, err := readKnown(file)
	if err != nil || len(k.Vaults) == 0 || k.has(content.Fingerprint(v.secret)) {
		return err
	}
	return &OtherVaultError{Vault: path, ID: v.head.ID, Known: k.Vaults[len(k.Vaults)-1].ID, File: file}
}

// makeKnown remembers a sealed vault, and any other in whose place another one was
// known. The file is replaced, whole or not at all.
func (v *Vault) makeKnown() error {
	file, path := v.knownFile()
	if file == "" {
		return nil
	}
	k, err := readKnown(file)
	if err != nil {
		k = knownVaults{} // a person said that this is the one
	}
	mine := knownVault{v.head.ID, content.Fingerprint(v.secret), time.Now().UTC()}
	if k.has(mine.Fingerprint) || !v.isSealed() && len(k.Vaults) == 0 {
		return nil
	}
	k.Path, k.Vaults = path, append(k.Vaults, mine)
	b, err := json.MarshalIndent(k, "", " ")
	if err == nil {
		err = os.MkdirAll(v.known, 0o700)
	}
	if err != nil {
		return fmt.Errorf("remember vault %s: %w", path, err)
	}
	temp := file + "." + randomHex(4)
	err = os.WriteFile(temp, append(b, '\n'), 0o600)
	if err == nil {
		err = os.Rename(temp, file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("remember vault %s: %w", path, err), removeIfThere(temp))
	}
	return nil
}
