package libvirt

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Rewrite says what to change in a domain's definition. Fields that are empty
// change nothing.
type Rewrite struct {
	Name    string
	UUID    string // "new" makes one
	NewMACs bool   // every interface gets a MAC address of its own
	// Disks are where disks lie now, by name of the target. Those that are not named stay.
	Disks map[string]NewDisk
	// Remove takes disks and devices of the host out, by the names that [DisksOf] gives.
	Remove []string
	NVRAM  string // path of the file

	// Random is where new numbers come from; nil: the system's generator.
	Random io.Reader
}

// NewDisk is where a disk lies now: in a file, on a block device, or behind an NBD server. Its layers
// below, its encryption and its addresses on a network are forgotten.
type NewDisk struct {
	Path   string // of a file or block device
	Format string // raw or qcow2
	Block  bool   // Path is a block device
	NBD    *Server
	Export string // of NBD
}

// NewUUID asks Rewrite for a new UUID.
const NewUUID = "new"

// DisksOf lists the disks in a domain's definition, without sizes.
func DisksOf(text string) ([]Disk, error) {
	root, err := parseDomain(text)
	if err != nil {
		return nil, err
	}
	return disksOf(root), nil
}

func parseDomain(text string) (*element, error) {
	root, err := parseXML(text)
	if err == nil && root.name != "domain" {
		err = fmt.Errorf("the root is <%s>", root.name)
	}
	if err != nil {
		return nil, fmt.Errorf("definition of a domain: %w", err)
	}
	return root, nil
}

// RewriteXML changes a domain's definition and keeps all that it does not know.
func RewriteXML(text string, r Rewrite) (string, error) {
	root, err := parseDomain(text)
	if err != nil {
		return "", err
	}
	if r.Random == nil {
		r.Random = rand.Reader
	}
	root.unset("id")
	for _, step := range []func(*element) error{r.names, r.macs, r.disks, r.remove, r.nvram} {
		if err := step(root); err != nil {
			return "", fmt.Errorf("rewrite definition of domain %q: %w", root.text("name"), err)
		}
	}
	return root.String(), nil
}

// names changes name and UUID, and what is derived of them.
func (r Rewrite) names(root *element) error {
	if r.Name != "" && r.Name != root.text("name") {
		if strings.ContainsAny(r.Name, "/\n\x00") {
			return fmt.Errorf("%q is not a name for a domain", r.Name)
		}
		root.need("name").setText(r.Name)
		forgetSockets(root)
	}
	if r.UUID == "" {
		return nil
	}
	id := r.UUID
	if id == NewUUID {
		var b [16]byte
		if _, err := io.ReadFull(r.Random, b[:]); err != nil {
			return err
		}
		b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
		id = fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	}
	if !isUUID(id) {
		return fmt.Errorf("%q is not a uuid", id)
	}
	root.need("uuid").setText(id)
	// libvirt wants the same in what the firmware tells the guest.
	for _, e := range root.at("sysinfo/system").all("entry") {
		if e.attr("name") == "uuid" {
			e.setText(id)
		}
	}
	if g := root.child("genid"); g != nil {
		g.nodes = nil // libvirt makes a new one, and Windows sees that it is another machine
	}
	return nil
}

// forgetSockets lets libvirt choose anew the paths that it once made of the name.
func forgetSockets(root *element) {
	for _, c := range root.child("devices").all("channel") {
		src := c.child("source")
		if c.attr("type") == "unix" && strings.HasPrefix(src.attr("path"), "/var/lib/libvirt/qemu/channel/target/") {
			c.remove(src)
		}
	}
}

// macs gives every interface a MAC address in QEMU's range.
func (r Rewrite) macs(root *element) error {
	if !r.NewMACs {
		return nil
	}
	for _, e := range root.child("devices").all("interface") {
		var b [3]byte
		if _, err := io.ReadFull(r.Random, b[:]); err != nil {
			return err
		}
		e.need("mac").set("address", fmt.Sprintf("52:54:00:%02x:%02x:%02x", b[0], b[1], b[2]))
	}
	return nil
}

// named finds a disk or a device of the host by the name that disksOf gives it.
func named(devices *element, name string) *element {
	for _, e := range devices.all("disk") {
		if e.child("target").attr("dev") == name {
			return e
		}
	}
	if number, ok := strings.CutPrefix(name, "hostdev"); ok {
		if i, err := strconv.Atoi(number); err == nil && i >= 0 && i < len(devices.all("hostdev")) {
			return devices.all("hostdev")[i]
		}
	}
	return nil
}

func (r Rewrite) disks(root *element) error {
	for _, name := range slices.Sorted(maps.Keys(r.Disks)) {
		e := named(root.child("devices"), name)
		if e == nil || e.name != "disk" {
			return fmt.Errorf("there is no disk %s", name)
		}
		if err := r.Disks[name].put(e); err != nil {
			return fmt.Errorf("disk %s: %w", name, err)
		}
	}
	return nil
}

// put changes where a disk lies.
func (n NewDisk) put(e *element) error {
	if n.Format != "raw" && n.Format != "qcow2" {
		return fmt.Errorf("format %q is neither raw nor qcow2", n.Format)
	}
	for _, name := range []string{"backingStore", "mirror", "encryption", "auth"} {
		for _, c := range e.all(name) {
			e.remove(c)
		}
	}
	if e.attr("device") == "lun" {
		e.set("device", "disk")
	}
	e.need("driver").set("name", "qemu")
	e.need("driver").set("type", n.Format)
	src := e.need("source")
	labels := src.all("seclabel")
	src.attrs, src.nodes = nil, nil
	for _, l := range labels {
		src.nodes = append(src.nodes, l)
	}
	switch {
	case n.NBD != nil:
		e.set("type", "network")
		src.set("protocol", "nbd")
		if n.Export != "" {
			src.set("name", n.Export)
		}
		if n.NBD.Socket != "" {
			src.add("host", "transport", "unix", "socket", n.NBD.Socket)
		} else {
			src.add("host", "name", n.NBD.Name, "port", strconv.Itoa(orPort(n.NBD.Port, 10809)))
		}
	case !strings.HasPrefix(n.Path, "/"):
		return fmt.Errorf("%q is not a whole path", n.Path)
	case n.Block:
		e.set("type", "block")
		src.set("dev", n.Path)
	default:
		e.set("type", "file")
		src.set("file", n.Path)
	}
	return nil
}

func (r Rewrite) remove(root *element) error {
	devices := root.child("devices")
	var found []*element
	for _, name := range r.Remove { // all are found before numbers change
		e := named(devices, name)
		if e == nil {
			return fmt.Errorf("there is no disk %s", name)
		}
		found = append(found, e)
	}
	for _, e := range found {
		devices.remove(e)
	}
	return nil
}

func (r Rewrite) nvram(root *element) error {
	if r.NVRAM == "" {
		return nil
	}
	if !strings.HasPrefix(r.NVRAM, "/") {
		return fmt.Errorf("NVRAM %q: not a whole path", r.NVRAM)
	}
	os := root.child("os")
	if os == nil {
		return errors.New("it has no <os>")
	}
	e := os.need("nvram")
	if e.attr("type") == "" {
		e.setText(r.NVRAM)
		return nil
	}
	e.set("type", "file")
	src := e.need("source")
	src.attrs, src.nodes = nil, nil
	src.set("file", r.NVRAM)
	return nil
}
