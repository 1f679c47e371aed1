package procs

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
)

// Machine is what a command line tells of a machine. Paths are absolute where the
// folder that the process runs in is known.
type Machine struct {
	Name, UUID string
	QMP        []string // sockets of monitors that speak QMP
	Agents     []string // sockets of guest agents
	Disks      []Disk
	NVRAM      string // file of a UEFI machine's variables
	TPM        string // socket of its swtpm
	Libvirt    bool   // libvirt started it, and owns its sockets
}

// Disk is a disk as the command line names it.
type Disk struct {
	ID     string // of the drive or the block device; may be empty
	File   string // path, or an address of a network disk; may be empty
	Format string // empty where it is not said, and QEMU guesses
}

const agentPort = "org.qemu.guest_agent.0"

// parser gathers what belongs together and is said apart.
type parser struct {
	m        Machine
	cwd      string
	chardevs map[string]string // id: path of its socket
	monitors []string          // chardevs that speak QMP
	agents   []string          // chardevs of guest agents
	tpm      []string          // chardevs of TPMs
	nodes    map[string]options
	order    []string // of nodes
	drives   map[string]Disk
	pflash   []string // nodes or drives that are firmware
}

// Parse reads a command line; cwd is the folder that relative paths begin at, "" if
// it is not known.
func Parse(args []string, cwd string) Machine {
	p := &parser{cwd: cwd, chardevs: map[string]string{}, nodes: map[string]options{}, drives: map[string]Disk{}}
	for i := 1; i < len(args); i++ {
		name, isOption := optionName(args[i])
		if !isOption {
			p.m.Disks = append(p.m.Disks, Disk{File: p.path(args[i])}) // the first disk
			continue
		}
		if !understood[name] {
			if takesValue[name] || i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") && !bare[name] {
				i++
			}
			continue
		}
		if i++; i < len(args) {
			p.option(name, args[i])
		}
	}
	return p.finish()
}

func optionName(arg string) (string, bool) {
	if len(arg) < 2 || arg[0] != '-' {
		return "", false
	}
	return strings.TrimPrefix(arg[1:], "-"), true
}

// understood are options, all with a value, that tell something.
var understood = map[string]bool{"name": true, "uuid": true, "qmp": true, "qmp-pretty": true, "mon": true, "chardev": true, "device": true,
	"drive": true, "blockdev": true, "hda": true, "hdb": true, "hdc": true, "hdd": true, "machine": true, "M": true, "tpmdev": true}

// bare are options without a value, behind which a disk can be named; takesValue those whose
// value may begin with a dash.
var (
	bare = map[string]bool{"nodefaults": true, "no-user-config": true, "nographic": true, "daemonize": true, "S": true, "snapshot": true,
		"enable-kvm": true, "no-reboot": true, "no-shutdown": true, "no-hpet": true, "no-acpi": true, "usb": true, "s": true, "full-screen": true, "preconfig": true}
	takesValue = map[string]bool{"append": true, "kernel": true, "initrd": true, "serial": true, "monitor": true, "object": true, "netdev": true}
)

func (p *parser) option(name, value string) {
	o := parseOptions(value)
	switch name {
	case "name":
		p.m.Name = o.get("guest")
	case "uuid":
		p.m.UUID = strings.ToLower(value)
	case "qmp", "qmp-pretty":
		p.socket(&p.m.QMP, value)
	case "mon":
		if o["mode"] == "control" {
			p.monitors = append(p.monitors, o.get("chardev"))
		}
	case "chardev":
		if o["id"] == "charmonitor" { // what libvirt calls its own
			p.m.Libvirt = true
		}
		if o[""] == "socket" && o["path"] != "" {
			p.chardevs[o["id"]] = p.path(o["path"])
		}
	case "device":
		if o["name"] == agentPort {
			p.agents = append(p.agents, o["chardev"])
		}
	case "tpmdev":
		p.tpm = append(p.tpm, o["chardev"])
	case "machine", "M":
		if f := o["pflash1"]; f != "" {
			p.pflash = append(p.pflash, f)
		}
	case "hda", "hdb", "hdc", "hdd":
		p.m.Disks = append(p.m.Disks, Disk{ID: name, File: p.path(value)})
	case "drive":
		p.drive(o)
	case "blockdev":
		p.blockdev(o)
	}
}

// socket adds the path of -qmp unix:PATH,server.
func (p *parser) socket(to *[]string, value string) {
	if rest, ok := strings.CutPrefix(value, "unix:"); ok {
		o := parseOptions(rest)
		*to = append(*to, p.path(o[""]))
	} else if id, ok := strings.CutPrefix(value, "chardev:"); ok {
		p.monitors = append(p.monitors, id)
	}
}

func (p *parser) drive(o options) {
	switch {
	case o["media"] == "cdrom" || o["if"] == "floppy":
	case o["if"] == "pflash":
		if o["readonly"] != "on" { // the firmware itself is
			p.m.NVRAM = p.path(o["file"])
		}
	case o["file"] != "":
		p.m.Disks = append(p.m.Disks, Disk{ID: o["id"], File: p.path(o["file"]), Format: o["format"]})
	}
}

func (p *parser) blockdev(o options) {
	id := o["node-name"]
	if _, there := p.nodes[id]; !there {
		p.order = append(p.order, id)
	}
	p.nodes[id] = o
}

// finish resolves what names something else.
func (p *parser) finish() Machine {
	for _, id := range p.monitors {
		if s := p.chardevs[id]; s != "" {
			p.m.QMP = append(p.m.QMP, s)
		}
	}
	for _, id := range p.agents {
		if s := p.chardevs[id]; s != "" {
			p.m.Agents = append(p.m.Agents, s)
		}
	}
	for _, id := range p.tpm {
		if s := p.chardevs[id]; s != "" {
			p.m.TPM = s
		}
	}
	p.blockdevs()
	return p.m
}

// blockdevs makes disks of the nodes that no other node stands on.
func (p *parser) blockdevs() {
	below := map[string]bool{}
	for _, o := range p.nodes {
		for _, key := range []string{"file", "backing", "data-file"} {
			below[o[key]] = true
		}
	}
	for _, id := range p.order {
		o := p.nodes[id]
		file, format := p.fileOf(o, 0)
		switch {
		case slices.Contains(p.pflash, id):
			p.m.NVRAM = file
		case below[id] && id != "":
		case strings.Contains(id, "pflash") || o["read-only"] == "on" || o["read-only"] == "true":
		default:
			p.m.Disks = append(p.m.Disks, Disk{ID: id, File: file, Format: format})
		}
	}
}

const maxNodes = 64

// fileOf follows a node down to what it lies in.
func (p *parser) fileOf(o options, depth int) (file, format string) {
	format = o["driver"]
	if f := o["filename"]; f != "" {
		return p.path(f), "raw"
	}
	if f := o["file.filename"]; f != "" {
		return p.path(f), format
	}
	if next, ok := p.nodes[o["file"]]; ok && o["file"] != "" && depth < maxNodes {
		file, _ = p.fileOf(next, depth+1)
	}
	return file, format
}

// path makes a file's name absolute; addresses of network disks stay as they are.
func (p *parser) path(name string) string {
	name = strings.TrimPrefix(name, "file:")
	if name == "" || filepath.IsAbs(name) || p.cwd == "" || strings.Contains(name, ":") {
		return name
	}
	return filepath.Join(p.cwd, name)
}

// options are the keys and values of one option's value; what stands first without a
// key is that of "".
type options map[string]string

// get returns what a key says, or what stands first without one.
func (o options) get(key string) string {
	if v := o[key]; v != "" {
		return v
	}
	return o[""]
}

func parseOptions(s string) options {
	if strings.HasPrefix(s, "{") {
		return parseJSON(s)
	}
	o := options{}
	for i, part := range splitCommas(s) {
		key, value, ok := strings.Cut(part, "=")
		switch {
		case ok:
			o[key] = value
		case i == 0:
			o[""] = part
		default:
			o[part] = "on" // a flag
		}
	}
	return o
}

// parseJSON flattens an object: {"file": {"filename": "x"}} becomes file.filename=x.
func parseJSON(s string) options {
	o := options{}
	var v map[string]any
	if json.Unmarshal([]byte(s), &v) == nil {
		flatten(o, "", v, 0)
	}
	return o
}

func flatten(o options, prefix string, v map[string]any, depth int) {
	for key, value := range v {
		switch value := value.(type) {
		case string:
			o[prefix+key] = value
		case bool:
			o[prefix+key] = map[bool]string{true: "on", false: "off"}[value]
		case map[string]any:
			if depth < 8 {
				flatten(o, prefix+key+".", value, depth+1)
			}
		}
	}
}

// splitCommas splits at single commas and halves double ones.
func splitCommas(s string) []string {
	var parts []string
	var part strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != ',':
			part.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == ',':
			part.WriteByte(',')
			i++
		default:
			parts = append(parts, part.String())
			part.Reset()
		}
	}
	return append(parts, part.String())
}
