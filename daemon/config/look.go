package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"
)

// lookTimeout is how long a file of the configuration may take to answer.
const lookTimeout = 3 * time.Second

// Look says what of what the configuration names is not there, or may not be used: what
// a daemon would find out when it starts. What does not answer is left alone after a while.
func (c *Config) Look(getenv func(string) string) (doubts []string) {
	doubt := func(what string, err error) {
		if err != nil {
			doubts = append(doubts, fmt.Sprintf("%s: %v", what, err))
		}
	}
	for i := range c.Vaults {
		v := &c.Vaults[i]
		doubt("vault "+v.Path, there(v.Path))
		for _, f := range append([]string{v.PassphraseFile}, v.Identity...) {
			if f != "" {
				doubt("vault "+v.Path, secret(f))
			}
		}
		if v.Credential != "" {
			if _, err := v.CredentialFile(getenv); err != nil {
				doubt("vault "+v.Path, err)
			}
		}
	}
	if f := c.Scratch.Folder; f != "" {
		doubt(f, there(f))
	}
	if c.Listen.TCP != "" {
		doubt(c.Listen.Certificate, certificate(c.Listen.Certificate, c.Listen.Key, time.Now()))
	}
	for _, folder := range c.RestoreFolders {
		doubt(folder, there(folder))
	}
	if n, ok := c.Notifications.(interface{ Secrets() []string }); ok {
		for _, f := range n.Secrets() {
			doubt("notifications", secret(f))
		}
	}
	if c.Mount.At != "" {
		doubt(c.Mount.At, makeable(c.Mount.At))
	}
	for _, g := range []string{c.Group, c.Mount.Group} {
		if g != "" && g != usualGroup { // without that one, the socket is root's
			_, err := GroupID(g)
			doubt("group "+g, err)
		}
	}
	return doubts
}

// CredentialFile is where systemd put the vault's credential.
func (v *Vault) CredentialFile(getenv func(string) string) (string, error) {
	dir := getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return "", fmt.Errorf("credential %s: systemd gave none; LoadCredential=%s:FILE in the unit does", v.Credential, v.Credential)
	}
	return filepath.Join(dir, v.Credential), nil
}

// GroupID is the number of a group, by name or number.
func GroupID(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err == nil {
		name = g.Gid
	}
	id, e := strconv.ParseUint(name, 10, 31)
	if e != nil {
		return 0, fmt.Errorf("there is no group %.40q on this host", name)
	}
	return int(id), nil
}

// there tells whether a path can be looked at, in time.
func there(path string) error {
	answer := make(chan error, 1)
	go func() { // left behind where the file system does not answer
		_, err := os.Stat(path)
		answer <- err
	}()
	select {
	case err := <-answer:
		return short(err)
	case <-time.After(lookTimeout):
		return errors.New("its file system does not answer")
	}
}

// makeable tells whether a folder is there, or can be made where it is to be.
func makeable(path string) error {
	answer := make(chan error, 1)
	go func() { // left behind where the file system does not answer
		at := filepath.Clean(path)
		st, err := os.Stat(at)
		for errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at) {
			at = filepath.Dir(at)
			st, err = os.Stat(at)
		}
		if err == nil && !st.IsDir() {
			err = fmt.Errorf("%s is no folder", at)
		}
		answer <- err
	}()
	select {
	case err := <-answer:
		return short(err)
	case <-time.After(lookTimeout):
		return errors.New("its file system does not answer")
	}
}

// secret is there of a file that nobody else should read.
func secret(path string) error {
	if err := there(path); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	st, err := os.Stat(path)
	if err == nil && st.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s: others may read it (%v): chmod 600", path, st.Mode().Perm())
	}
	return nil
}

// certificate tells whether a certificate can be used with its key, and for how long.
func certificate(cert, key string, now time.Time) error {
	if err := there(cert); err != nil {
		return err
	}
	if err := there(key); err != nil {
		return fmt.Errorf("its key %s: %w", key, err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("with the key %s: %w", key, err)
	}
	end := pair.Leaf.NotAfter.UTC().Format("2006-01-02")
	switch left := pair.Leaf.NotAfter.Sub(now); {
	case left <= 0:
		return fmt.Errorf("it expired on %s: clients refuse it", end)
	case left < 14*24*time.Hour:
		return fmt.Errorf("it expires on %s: put a new one there, which is read without a restart", end)
	}
	if st, err := os.Stat(key); err == nil && st.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("everybody may read its key %s (%v): chmod 600", key, st.Mode().Perm())
	}
	return nil
}

// short leaves the path out that is said already.
func short(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Sealed tells whether any vault is opened by a key.
func (c *Config) Sealed() bool {
	for _, v := range c.Vaults {
		if v.PassphraseFile != "" || v.Credential != "" || len(v.Identity) > 0 {
			return true
		}
	}
	return false
}
