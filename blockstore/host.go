package blockstore

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// Host is an installation of an operating system, as OWNER names it.
type Host struct {
	Name   string // of the host
	ID     string // of the installation; "" where there is none
	BootID string
}

// thisHost describes the host that this process runs on.
func thisHost() Host {
	name, _ := os.Hostname() // empty is as good
	return Host{Name: name, ID: firstWord("/etc/machine-id"), BootID: firstWord("/proc/sys/kernel/random/boot_id")}
}

func firstWord(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return "" // unknown
	}
	return strings.TrimSpace(string(b))
}

// isOf tells whether an owner lived on a host.
func (o Ownership) isOf(h Host) bool {
	if o.HostID != "" && h.ID != "" {
		return o.HostID == h.ID
	}
	return o.Host == h.Name
}

// stateOfProcess says what holds the owner's process up, "" when it runs, or
// when that cannot be told: it may live in another container.
func stateOfProcess(o Ownership, h Host) string {
	if o.PID <= 0 || o.BootID != h.BootID {
		return ""
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", o.PID))
	if err != nil {
		return ""
	}
	// The name in brackets may hold anything.
	_, rest, _ := strings.Cut(string(b[max(0, bytes.LastIndexByte(b, ')')):]), " ")
	switch {
	case strings.HasPrefix(rest, "T"), strings.HasPrefix(rest, "t"):
		return "stopped"
	case strings.HasPrefix(rest, "D"):
		return "waiting for its disk"
	}
	return ""
}
