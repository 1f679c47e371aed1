package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
	"github.com/holdfast-backup/holdfast/daemon/smallfile"
	"github.com/holdfast-backup/holdfast/daemon/status"
)

const (
	statusFile  = "status.json"  // the last status, for when a vault hangs
	ignoredFile = "ignored.json" // names that nobody minds to see unprotected

	// maxKept is how long these files may be, in bytes, and maxIgnored how many names are ignored.
	maxKept = 256 << 20

	maxIgnoredName = 4096 + len("disk:") // bytes
	maxIgnored     = 10_000
)

// keptStatus is a file of a status, and what it says.
type keptStatus struct {
	mu     sync.Mutex
	text   []byte
	status *api.Status // nil: it says nothing; not to be changed
}

// before is the status that was kept last; nil: none that can be read. It is not to be changed.
func (s *Service) before() *api.Status {
	text, err := s.readFile(statusFile)
	if err != nil {
		return nil
	}
	k := &s.lastStatus
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.text == nil || !bytes.Equal(k.text, text) {
		k.text, k.status = text, nil
		if old := new(api.Status); json.Unmarshal(text, old) == nil {
			k.status = old
		}
	}
	return k.status
}

// keptFor is how long a kept status is good enough, unless there is another reason to worry.
const keptFor = 10 * time.Second

// needless tells whether a status says nothing that the one that was kept just before does not.
func needless(now, before *api.Status) bool {
	if before == nil || len(now.Vaults) != len(before.Vaults) || len(now.Machines) != len(before.Machines) || len(now.VMs) != len(before.VMs) {
		return false
	}
	age := now.Time.Sub(before.Time.Time)
	return age >= 0 && age < keptFor && slices.Equal(now.Reasons, before.Reasons) && slices.Equal(now.Warnings, before.Warnings)
}

// keep remembers a status, and what was known of vaults that it says nothing of. A folder that
// cannot be written to is no reason not to tell the status.
func (s *Service) keep(now *api.Status, before *api.Status) {
	if needless(now, before) {
		return
	}
	kept := *now
	if before != nil {
		there := map[string]bool{}
		for _, v := range before.Vaults {
			there[v.Name] = slices.ContainsFunc(now.Vaults, func(n api.VaultStatus) bool { return n.Name == v.Name || status.SameVault(n.Vault, v.Vault) })
			if there[v.Name] {
				continue
			}
			if v.AsOf == nil {
				at := before.Time
				v.AsOf = &at
			}
			kept.Vaults = append(slices.Clone(kept.Vaults), v)
		}
		for _, m := range before.Machines {
			if !there[m.Vault] {
				kept.Machines = append(slices.Clone(kept.Machines), m)
			}
		}
	}
	s.noteKept(statusFile, s.writeKept(statusFile, kept))
}

// unkept are the files of what a status remembers that could not be written when that was last tried.
type unkept struct {
	mu  sync.Mutex
	why map[string]error // by name
}

// noteKept notes whether what a status remembers could be kept, and tells the log when that changes. A command
// may have no such folder, or none that its user writes to: then nobody expects it.
func (s *Service) noteKept(name string, err error) {
	if !s.o.Stays && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
		err = nil
	}
	u := &s.unkept
	u.mu.Lock()
	defer u.mu.Unlock()
	was := len(u.why) > 0
	if delete(u.why, name); err != nil {
		if u.why == nil {
			u.why = map[string]error{}
		}
		u.why[name] = err
	}
	if now := len(u.why) > 0; now != was && s.o.Log != nil {
		if now {
			s.o.Log.Warn("what the status remembers cannot be kept", "error", err)
		} else {
			s.o.Log.Info("what the status remembers is kept again")
		}
	}
}

// notKept says what a status cannot remember, and why; "": nothing.
func (s *Service) notKept() string {
	u := &s.unkept
	u.mu.Lock()
	defer u.mu.Unlock()
	of := map[string]string{growthFile: "how vaults grow", statusFile: "how all stood, since when VMs are unprotected, too"}
	var what []string
	var why error
	for _, name := range []string{growthFile, statusFile} {
		if err := u.why[name]; err != nil {
			what, why = append(what, of[name]), err
		}
	}
	if why == nil {
		return ""
	}
	return fmt.Sprintf("the state folder takes nothing, so that it is not remembered %s: %v (is its disk full or read-only?)", strings.Join(what, ", nor "), why)
}

// ignored are the names that nobody minds to see unprotected.
func (s *Service) ignored() (names []string) {
	if s.readKept(ignoredFile, &names) != nil {
		return nil
	}
	return names
}

// Ignore changes which machines and VMs nobody minds to see unprotected.
func (s *Service) Ignore(_ context.Context, r api.IgnoreRequest) ([]string, error) {
	for _, n := range r.Names {
		if n == "" || len(n) > maxIgnoredName || strings.ContainsFunc(n, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return nil, invalidf("%.40q is no name of a machine or VM", n)
		}
	}
	if s.o.StateDir == "" {
		return nil, errors.New("there is no state folder in which to remember it")
	}
	s.keeping.Lock()
	defer s.keeping.Unlock()
	names := []string{}
	if err := s.readKept(ignoredFile, &names); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("which names are ignored: %w", err)
	}
	if len(r.Names) == 0 {
		return names, nil
	}
	for _, n := range r.Names {
		switch at := slices.Index(names, n); {
		case !r.Remove && at < 0:
			names = append(names, n)
		case r.Remove && at < 0:
			return nil, fmt.Errorf("%s is not ignored: %w", n, blockstore.ErrNotFound)
		case r.Remove:
			names = slices.Delete(names, at, at+1)
		}
	}
	if len(names) > maxIgnored {
		return nil, invalidf("%d names would be ignored, at most %d can be", len(names), maxIgnored)
	}
	slices.Sort(names)
	return names, s.writeKept(ignoredFile, names)
}

func (s *Service) readFile(name string) ([]byte, error) {
	if s.o.StateDir == "" {
		return nil, fs.ErrNotExist
	}
	return smallfile.Read(filepath.Join(s.o.StateDir, name), maxKept)
}

func (s *Service) readKept(name string, into any) error {
	b, err := s.readFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// writeKept replaces a small file of the state folder, whole or not at all.
func (s *Service) writeKept(name string, v any) error {
	if s.o.StateDir == "" {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return smallfile.Replace(filepath.Join(s.o.StateDir, name), b, 0o600, smallfile.Lightly)
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "this host"
	}
	return name
}

func consistencyOf(c blockstore.Consistency) policy.Consistency { return policy.Consistency(c) }

func diskFacts(d blockstore.DiskInfo) policy.Disk {
	return policy.Disk{Name: d.Name, Serial: d.Serial, Source: d.Source}
}
