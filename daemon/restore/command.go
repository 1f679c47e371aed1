package restore

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// command makes a shell script of the command line of a QEMU: the same arguments, with the
// disks where they lie now.
func (m *Machine) command() (*Definition, error) {
	args, err := readCommand(m.Config[commandFile])
	if err != nil {
		return nil, err
	}
	d := &Definition{}
	for _, name := range slices.Sorted(maps.Keys(m.Disks)) {
		disk := m.Disks[name]
		to := disk.Path
		if disk.Kind == NBD {
			to = disk.URI
		}
		if found := replacePath(args, disk.Source, to); found == 0 {
			d.note("where the command line names disk %s (it was %s) cannot be found: write %s there", name, disk.Source, to)
		}
		if was := disk.Was == "qcow2"; was != (disk.Kind == Qcow2) || disk.Kind == NBD {
			d.note("disk %s was %s and is %s now: adapt driver and format in the command line", name, disk.Was, disk.Kind)
		}
	}
	for _, l := range m.LeftOut {
		d.note("disk %s is not in the point (%s): the command line names it still", l.Name, l.Reason)
	}
	if m.Config[nvramFile] != nil && m.NVRAM != "" && replaceNVRAM(args, m.NVRAM) == 0 {
		d.note("where the command line names the UEFI variables cannot be found: write %s there", m.NVRAM)
	}
	args = m.rename(args, d)
	if m.NewMACs {
		newMACs(args)
	}
	args = dropIncoming(args)
	if slices.ContainsFunc(args, func(a string) bool { return passedFile.MatchString(a) }) {
		d.note("the command line names files that whoever started it had open (fd=): adapt those arguments")
	}
	if m.Config[tpmFile] != nil {
		d.note("the state of its TPM is in %s: unpack it where its swtpm looks for it", tpmFile)
	}
	d.Text = script(args)
	return d, nil
}

func (d *Definition) note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}

// A colon on both sides is a part of a MAC address.
var passedFile = regexp.MustCompile(`(^|[,"])(fds?|vhostfds?|fdset)("?[=:])|:(fds?|vhostfds?|fdset)=`)

// readCommand reads a command line, one argument a line.
func readCommand(data []byte) ([]string, error) {
	if len(data) > maxDefinition {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", commandFile, len(data), maxDefinition)
	}
	if slices.Contains(data, 0) {
		return nil, fmt.Errorf("%s has a byte of zero in it", commandFile)
	}
	args := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if args[0] == "" {
		return nil, fmt.Errorf("%s is empty", commandFile)
	}
	return args, nil
}

// replacePath puts another path where an argument names one as a whole, and says how often.
func replacePath(args []string, from, to string) int {
	if from == "" {
		return 0
	}
	n := 0
	for i, a := range args {
		if i > 0 {
			args[i] = replaceIn(a, inArgument(a, from), inArgument(a, to), &n)
		}
	}
	return n
}

// inArgument writes a path as it stands in an argument: in JSON as a string, elsewhere
// with its commas doubled.
func inArgument(arg, path string) string {
	if strings.HasPrefix(arg, "{") || strings.HasPrefix(arg, "json:") {
		b, _ := json.Marshal(path) // a string always can be
		return strings.Trim(string(b), `"`)
	}
	return strings.ReplaceAll(path, ",", ",,")
}

func replaceIn(arg, from, to string, n *int) string {
	var out strings.Builder
	for pos := 0; ; {
		i := strings.Index(arg[pos:], from)
		if i < 0 {
			return out.String() + arg[pos:]
		}
		i += pos
		end := i + len(from)
		whole := (i == 0 || strings.ContainsRune(`="':,`, rune(arg[i-1]))) && (end == len(arg) || strings.ContainsRune(`,"'`, rune(arg[end])))
		out.WriteString(arg[pos:i])
		if whole {
			out.WriteString(to)
			*n++
		} else {
			out.WriteString(from)
		}
		pos = end
	}
}

var fileOf = regexp.MustCompile(`(?:file=|"filename":\s*"|filename=)([^,"]+)`)

// replaceNVRAM puts another path where an argument names the file of UEFI variables: flash
// that is not read-only.
func replaceNVRAM(args []string, to string) int {
	n := 0
	for _, a := range args {
		vars := strings.Contains(a, "pflash") && !strings.Contains(a, "readonly") && !strings.Contains(a, "read-only")
		for _, f := range fileOf.FindAllStringSubmatch(a, -1) {
			if n == 0 && (vars || strings.Contains(strings.ToUpper(f[1]), "VARS")) {
				n = replacePath(args, f[1], to)
			}
		}
	}
	return n
}

// rename gives the machine its new name and an UUID of its own.
func (m *Machine) rename(args []string, d *Definition) []string {
	for i := 1; i+1 < len(args); i++ {
		switch args[i] {
		case "-name", "--name":
			d.Name, _, _ = strings.Cut(strings.TrimPrefix(args[i+1], "guest="), ",")
			if m.Name != "" {
				_, rest, more := strings.Cut(args[i+1], ",")
				args[i+1], d.Name = "guest="+m.Name, m.Name
				if more {
					args[i+1] += "," + rest
				}
			}
		case "-uuid", "--uuid":
			if m.Name != "" {
				args[i+1] = newUUID()
			}
			d.UUID = args[i+1]
		}
	}
	if d.Name == "" && m.Name != "" {
		d.Name = m.Name
		args = append(args, "-name", "guest="+m.Name)
	}
	return args
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

var macAddress = regexp.MustCompile(`(mac(?:=|":\s*"))([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5})`)

func newMACs(args []string) {
	for i, a := range args {
		args[i] = macAddress.ReplaceAllStringFunc(a, func(s string) string {
			var b [3]byte
			rand.Read(b[:])
			return s[:len(s)-17] + fmt.Sprintf("52:54:00:%02x:%02x:%02x", b[0], b[1], b[2])
		})
	}
}

// dropIncoming takes out what made the machine wait for its migration.
func dropIncoming(args []string) []string {
	var kept []string
	for i := 0; i < len(args); i++ {
		if args[i] == "-incoming" || args[i] == "--incoming" {
			i++
			continue
		}
		kept = append(kept, args[i])
	}
	return kept
}

// script is a shell script that becomes the command.
func script(args []string) string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n# The machine as it was started, with its disks where they lie now. Look through it first: networks,\n# sockets and devices are those of the host it came from.\nexec ")
	for i, a := range args {
		switch {
		case i == 0:
		case strings.HasPrefix(a, "-"):
			b.WriteString(" \\\n  ")
		default:
			b.WriteString(" ")
		}
		b.WriteString(quoted(a))
	}
	b.WriteString("\n")
	return b.String()
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

func quoted(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// LackingCommand says what this host lacks for the command line: its QEMU, and files that it names
// and that are not among the restored ones.
func (m *Machine) LackingCommand() (lacking []string, err error) {
	args, err := readCommand(m.Config[commandFile])
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		lacking = append(lacking, "the program "+args[0])
	}
	ours := map[string]bool{}
	for _, d := range m.Disks {
		ours[d.Source] = true
	}
	for i, a := range args {
		var paths []string
		if i > 0 && slices.Contains([]string{"-kernel", "-initrd", "-bios", "-dtb"}, args[i-1]) {
			paths = append(paths, a)
		}
		for _, f := range fileOf.FindAllStringSubmatch(a, -1) {
			paths = append(paths, f[1])
		}
		for _, p := range paths {
			if !strings.HasPrefix(p, "/") || ours[p] || m.Config[nvramFile] != nil && strings.Contains(strings.ToUpper(p), "VARS") {
				continue
			}
			if _, err := os.Stat(p); errors.Is(err, os.ErrNotExist) {
				lacking = append(lacking, "the file "+p)
			}
		}
	}
	return lacking, nil
}
