package qemu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

func contains(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }

// ErrDenied is wrapped where QEMU may not use the scratch folder.
var ErrDenied = errors.New("QEMU may not use the scratch folder")

// explain adds to an error about a file in the scratch folder what an operator can do
// about it.
func (m *Machine) explain(err error, path string) error {
	if err == nil || !contains(err, "ermission denied") {
		return err
	}
	if at := closedFolder(filepath.Dir(path), m.process); at != "" {
		return fmt.Errorf("%w: its user (%d) cannot enter %s: give the option for another folder, or let that user in: %w", ErrDenied, m.process.uid, at, err)
	}
	return fmt.Errorf("%w: its user may, so a security profile forbids it%s: allow it there, or give the option for a folder that the profile allows: %w",
		ErrDenied, m.process.profile(), err)
}

// closedFolder is the first folder on the way that a process may not enter by its
// owner and mode. Groups other than its first are not known.
func closedFolder(path string, p process) string {
	if p.uid <= 0 {
		return ""
	}
	for at := "/"; ; {
		i, err := os.Stat(at)
		if err != nil {
			return ""
		}
		s, ok := i.Sys().(*syscall.Stat_t)
		if !ok {
			return ""
		}
		bit := os.FileMode(0o001)
		switch {
		case int(s.Uid) == p.uid:
			bit = 0o100
		case int(s.Gid) == p.gid:
			bit = 0o010
		}
		if i.Mode()&bit == 0 {
			return at
		}
		rest, err := filepath.Rel(at, path)
		if err != nil || rest == "." {
			return ""
		}
		name, _, _ := strings.Cut(rest, "/")
		at = filepath.Join(at, name)
	}
}

// profile names the security profile that a process runs under.
func (p process) profile() string {
	for _, name := range []string{"attr/apparmor/current", "attr/current"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid, name))
		label := strings.Trim(string(b), "\x00\n ")
		if err == nil && label != "" && label != "unconfined" {
			return fmt.Sprintf(" (%q; see the host's audit log)", label)
		}
	}
	return ""
}
