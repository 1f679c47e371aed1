package guestfs

import (
	"path"
	"slices"
	"strings"
)

// Bounds of an fstab.
const (
	maxFstab   = 1 << 20 // bytes
	maxEntries = 1024
)

// fstabEntry is a line of fstab(5) that mounts something at a path.
type fstabEntry struct {
	device, dir, kind string
	options           []string
}

func (e fstabEntry) has(option string) bool { return slices.Contains(e.options, option) }

// parseFstab reads what mounts file systems, in order; the last of two for a folder
// is the one that shows. What has no device of its own (bind mounts, memory, the
// kernel's trees, swap) is left out: the folder below it is what the disk holds.
func parseFstab(text string) []fstabEntry {
	var entries []fstabEntry
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 3 || strings.HasPrefix(f[0], "#") || len(entries) == maxEntries {
			continue
		}
		e := fstabEntry{device: strings.ReplaceAll(unescape(f[0]), `"`, ""), dir: unescape(f[1]), kind: f[2]}
		if len(f) > 3 {
			e.options = strings.Split(f[3], ",")
		}
		if strings.HasPrefix(e.dir, "/") && !e.virtual() {
			e.dir = path.Clean(e.dir)
			entries = append(entries, e)
		}
	}
	return entries
}

// virtual tells what is not on any disk.
func (e fstabEntry) virtual() bool {
	if e.has("bind") || e.has("rbind") || e.kind == "swap" || e.device == "none" {
		return true
	}
	switch e.kind {
	case "none", "proc", "sysfs", "tmpfs", "ramfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "debugfs", "tracefs",
		"securityfs", "hugetlbfs", "mqueue", "configfs", "binfmt_misc", "efivarfs", "overlay", "autofs", "fusectl":
		return true
	}
	for _, removable := range []string{"/dev/sr", "/dev/cdrom", "/dev/dvd", "/dev/fd", "/dev/loop"} {
		if strings.HasPrefix(e.device, removable) {
			return true
		}
	}
	return false
}

// remote tells what lies on another machine.
func (e fstabEntry) remote() bool {
	switch e.kind {
	case "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "9p", "virtiofs", "afs", "lustre", "fuse.sshfs", "fuse.glusterfs", "davfs":
		return true
	}
	return false
}

// unescape turns \040 and the like back.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1:i+4]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(s string) bool {
	return strings.Trim(s, "01234567") == "" && s[0] <= '3'
}
