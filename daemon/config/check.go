package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-backup/holdfast/daemon/policy"
)

// Most that is taken for meant.
const (
	maxVaults  = 64
	maxAtOnce  = 64
	maxDepth   = 256
	minMemory  = 16 << 20
	maxHistory = 1_000_000
)

// errNoVault says what the least is that a configuration says.
var errNoVault = errors.New("no vault is named, and a daemon without one has nothing to do; this is enough, for example:\n  vaults:\n    - path: /srv/vault")

var vaultName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)

// wrong returns what is wrong with the values of a configuration.
func (c *Config) wrong() (all []fault) {
	bad := func(err error, key ...string) {
		if err != nil {
			all = append(all, fault{key, err})
		}
	}
	bad(absolute(c.State), "state")
	bad(absolute(c.Run), "run")
	for i, folder := range c.RestoreFolders {
		bad(absolute(folder), "restore-folders", strconv.Itoa(i))
	}
	bad(number(c.Jobs.AtOnce, 1, maxAtOnce), "jobs", "at-once")
	bad(number(c.Jobs.ReadDepth, 1, maxDepth), "jobs", "read-depth")
	bad(number(c.Jobs.HistoryMost, 1, maxHistory), "jobs", "history-most")
	bad(c.Jobs.ShutdownLimit.check(), "jobs", "shutdown-limit")
	bad(c.Jobs.History.check(), "jobs", "history")
	bad(c.memory(), "memory")
	bad(textfile(c.MetricsTextfile), "metrics-textfile")
	bad(oneOf(c.Log.Format, "text", "json"), "log", "format")
	bad(oneOf(c.Log.Level, "debug", "info", "warn", "error"), "log", "level")
	bad(oneOf(c.GroupRole, "none", "viewer", "restorer", "operator", "admin"), "group-role")
	c.Scratch.wrong(bad)
	c.Mount.wrong(bad)
	c.Listen.wrong(bad)
	switch {
	case len(c.Vaults) == 0:
		bad(errNoVault, "vaults")
	case len(c.Vaults) > maxVaults:
		bad(fmt.Errorf("%d vaults are named, at most %d can be owned", len(c.Vaults), maxVaults), "vaults")
	}
	names, paths := map[string]bool{}, map[string]bool{}
	for i := range c.Vaults {
		v := &c.Vaults[i]
		v.wrong(func(err error, key ...string) { bad(err, append([]string{"vaults", strconv.Itoa(i)}, key...)...) })
		path := filepath.Clean(v.Path)
		if paths[path] || v.Name != "" && names[v.Name] {
			bad(errors.New("it is named twice"), "vaults", strconv.Itoa(i))
		}
		paths[path], names[v.Name] = true, true
	}
	return all
}

func (v *Vault) wrong(bad func(error, ...string)) {
	bad(absolute(v.Path), "path")
	if v.Name != "" && !vaultName.MatchString(v.Name) {
		bad(fmt.Errorf("%.40q is no name: letters, digits and ._+- are, at most 64", v.Name), "name")
	}
	if v.PassphraseFile != "" {
		bad(absolute(v.PassphraseFile), "passphrase-file")
	}
	for i, f := range v.Identity {
		bad(absolute(f), "identity", strconv.Itoa(i))
	}
	if v.Credential != "" {
		if !vaultName.MatchString(v.Credential) {
			bad(fmt.Errorf("%.40q is no name of a credential", v.Credential), "credential")
		}
		if v.PassphraseFile != "" {
			bad(errors.New("give this or passphrase-file"), "credential")
		}
	}
	bad(v.MinFree.check(), "min-free")
	bad(number(v.AtOnce, 1, maxAtOnce), "at-once")
	_, err := policy.Zone(v.Timezone)
	bad(err, "timezone")
	for key, w := range map[string]When{"sweep": v.Sweep, "check": v.Check, "verify": v.Verify, "prune": v.Prune, "catalogue": v.Catalogue} {
		if err == nil {
			_, err := w.read(v.Timezone)
			bad(err, key)
		}
	}
}

func (s *Scratch) wrong(bad func(error, ...string)) {
	if s.Folder != "" {
		bad(absolute(s.Folder), "scratch", "folder")
	}
	bad(s.Cap.check(), "scratch", "cap")
	bad(s.Free.check(), "scratch", "free")
}

func (m *Mount) wrong(bad func(error, ...string)) {
	if m.At != "" {
		bad(absolute(m.At), "mount", "at")
	} else if m.AllowOther || m.Group != "" {
		bad(errors.New("it says who may read there, and not where: at is missing"), "mount")
	}
}

func (l *Listen) wrong(bad func(error, ...string)) {
	if l.TCP == "" {
		if l.Certificate != "" || l.Key != "" {
			bad(errors.New("there is a certificate or a key, and no address: tcp is missing"), "listen")
		}
		return
	}
	_, port, err := net.SplitHostPort(l.TCP)
	if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 {
		bad(fmt.Errorf("%.80q is no address: write, for example, 0.0.0.0:8472", l.TCP), "listen", "tcp")
	}
	for key, path := range map[string]string{"certificate": l.Certificate, "key": l.Key} {
		if path == "" {
			bad(errors.New("it is missing: over TCP everything is encrypted"), "listen", key)
		} else {
			bad(absolute(path), "listen", key)
		}
	}
}

func (c *Config) memory() error {
	if err := c.Memory.check(); err != nil {
		return err
	}
	if c.Memory.Bytes() < minMemory {
		return fmt.Errorf("%q: choose at least 16MiB", c.Memory)
	}
	return nil
}

func absolute(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%.80q is no absolute path", path)
	}
	return nil
}

func number(n, least, most int) error {
	if n < least || n > most {
		return fmt.Errorf("%d: choose %d to %d", n, least, most)
	}
	return nil
}

func oneOf(s string, choices ...string) error {
	if !slices.Contains(choices, s) {
		return fmt.Errorf("%.40q: choose one of %q", s, choices)
	}
	return nil
}

func textfile(path string) error {
	if path != "" && !strings.HasSuffix(path, ".prom") {
		return fmt.Errorf("%.200q: node_exporter reads files whose names end with .prom", path)
	}
	if path == "" {
		return nil
	}
	return absolute(path)
}
