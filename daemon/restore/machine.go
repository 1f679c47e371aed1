package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce/libvirt"
	"github.com/holdfast-backup/holdfast/quiesce/nbd"
)

// Files of a point's configuration that a machine is made from again.
const (
	domainFile  = "domain.xml"
	commandFile = "qemu-command-line"
	nvramFile   = "nvram.fd"
	tpmFile     = "tpm.tar"
)

// Definer is a host that machines are defined on. [*libvirt.Host] is one, see [OnLibvirt].
type Definer interface {
	// Lacking says what the host lacks for a definition.
	Lacking(ctx context.Context, xml string) ([]string, error)

	// Known says whether there is a domain of that name or UUID.
	Known(ctx context.Context, nameOrUUID string) (bool, error)

	// Define makes the domain known.
	Define(ctx context.Context, xml string) error

	// Start starts it.
	Start(ctx context.Context, nameOrUUID string) error
}

// Machine is a machine of a point that is made again around its disks.
type Machine struct {
	Config  map[string][]byte    // of the point
	Disks   map[string]NewDisk   // by name: where they will lie
	LeftOut []blockstore.LeftOut // of the point, and disks of it that are not restored
	Name    string               // a new one; empty: its own, and its own UUID
	NewMACs bool                 // its network cards get addresses of their own
	NVRAM   string               // path for the UEFI variables, if it has any
	Force   bool                 // replace NVRAM and TPM state that is there

	definition *definition
}

// NewDisk is where a disk of the machine lies from now on.
type NewDisk struct {
	Path   string // of a file or device
	Source string // where it lay
	Kind   Kind
	URI    string // of an export
	Was    string // format of the source
}

// Definition is what a machine is made from again.
type Definition struct {
	Name, UUID string
	Text       string   // a domain's XML, or a shell script that runs QEMU
	Notes      []string // what a person should know
	Domain     bool     // it is a domain's
}

// IsDomain says whether the machine was one of libvirt's.
func (m *Machine) IsDomain() bool { return m.Config[domainFile] != nil }

// IsCommand says whether the machine was a QEMU that something else had started.
func (m *Machine) IsCommand() bool { return !m.IsDomain() && m.Config[commandFile] != nil }

// Define makes the definition. Nothing is written.
func (m *Machine) Define() (*Definition, error) {
	switch {
	case m.IsDomain():
		return m.domain()
	case m.IsCommand():
		return m.command()
	}
	return nil, errors.New("the point holds no configuration of a machine: neither domain.xml nor a command line of QEMU")
}

func (m *Machine) domain() (d *Definition, err error) {
	if m.definition, err = readDefinition(m.Config[domainFile]); err != nil {
		return nil, err
	}
	d = &Definition{Name: m.definition.Name, UUID: m.definition.UUID, Domain: true}
	r := libvirt.Rewrite{NewMACs: m.NewMACs, Disks: map[string]libvirt.NewDisk{}}
	if m.Name != "" && m.Name != d.Name {
		r.Name, r.UUID = m.Name, libvirt.NewUUID
	}
	for name, disk := range m.Disks {
		if _, _, found := m.definition.source(name); !found {
			return nil, fmt.Errorf("the domain's definition has no disk %s", name)
		}
		if r.Disks[name], err = disk.forLibvirt(); err != nil {
			return nil, err
		}
	}
	r.Remove = m.remove(d)
	if m.Config[nvramFile] != nil && m.NVRAM != "" {
		r.NVRAM = m.NVRAM
	}
	if d.Text, err = libvirt.RewriteXML(string(m.Config[domainFile]), r); err != nil {
		return nil, fmt.Errorf("change the domain's definition: %w", err)
	}
	now, err := readDefinition([]byte(d.Text))
	if err != nil {
		return nil, fmt.Errorf("the changed definition: %w", err)
	}
	d.Name, d.UUID = now.Name, now.UUID
	return d, nil
}

// remove lists the disks of the definition that will not be there.
func (m *Machine) remove(d *Definition) (names []string) {
	for _, l := range m.LeftOut {
		if strings.HasPrefix(l.Name, "hostdev") && m.Name != "" {
			names = append(names, l.Name)
			d.Notes = append(d.Notes, fmt.Sprintf("device %s of the host stays with the machine that has it", l.Name))
			continue
		}
		path, device, found := m.definition.source(l.Name)
		if _, restored := m.Disks[l.Name]; !found || restored {
			continue
		}
		drive := device == "cdrom" || device == "floppy"
		_, err := os.Stat(path)
		switch {
		case path == "" && drive:
		case drive && err == nil, m.Name == "" && err == nil && path != "":
			d.Notes = append(d.Notes, fmt.Sprintf("disk %s is not in the point (%s): the machine gets what is at %s now", l.Name, l.Reason, path))
		default:
			names = append(names, l.Name)
			d.Notes = append(d.Notes, fmt.Sprintf("disk %s is not in the point (%s): the machine is made without it", l.Name, l.Reason))
		}
	}
	slices.Sort(names)
	return names
}

func (n NewDisk) forLibvirt() (libvirt.NewDisk, error) {
	switch n.Kind {
	case Raw, Qcow2:
		return libvirt.NewDisk{Path: n.Path, Format: n.Kind.String()}, nil
	case Device:
		return libvirt.NewDisk{Path: n.Path, Format: "raw", Block: true}, nil
	case NBD:
		a, err := nbd.ParseURI(n.URI)
		if err != nil {
			return libvirt.NewDisk{}, err
		}
		at := &libvirt.Server{}
		if a.Network == "unix" {
			at.Socket = a.Host
		} else if at.Name, at.Port, err = a.HostPort(); err != nil {
			return libvirt.NewDisk{}, err
		}
		return libvirt.NewDisk{Format: "raw", NBD: at, Export: a.Export}, nil
	}
	return libvirt.NewDisk{}, fmt.Errorf("a machine cannot run from a %s", n.Kind)
}

// State are the jobs that put the machine's NVRAM where its definition has it.
func (m *Machine) State() []Job {
	data := m.Config[nvramFile]
	if data == nil || m.NVRAM == "" {
		return nil
	}
	return []Job{{Disk: memoryDisk{nvramFile, data}, Target: Spec{Kind: Raw, Path: m.NVRAM}}}
}

// CheckState refuses, before anything is written, UEFI variables or TPM state that would
// replace others.
func (m *Machine) CheckState(uuid string) error {
	if m.Force {
		return nil
	}
	if m.Config[nvramFile] != nil && m.NVRAM != "" {
		if _, err := os.Lstat(m.NVRAM); err == nil {
			return existsError("UEFI variables in " + m.NVRAM)
		}
	}
	if m.Config[tpmFile] == nil {
		return nil
	}
	if entries, err := os.ReadDir(filepath.Join(tpmFolder, uuid)); err == nil && len(entries) > 0 {
		return existsError("state of a TPM in " + filepath.Join(tpmFolder, uuid))
	}
	return nil
}

// saveFolder is where libvirt keeps the memory of domains that were put to sleep (managedsave).
const saveFolder = "/var/lib/libvirt/qemu/save"

// RefuseAsleep refuses a machine whose memory libvirt has saved: it would wake up on disks that
// are not those it knows. xml is its definition.
func RefuseAsleep(xml []byte) error { return refuseAsleep(saveFolder, xml) }

func refuseAsleep(folder string, xml []byte) error {
	d, err := readDefinition(xml)
	if err != nil {
		return err
	}
	at := filepath.Join(folder, d.Name+".save")
	if _, err := os.Lstat(at); err != nil {
		return nil // also where we may not look
	}
	return &InUseError{Path: "machine " + d.Name, Cause: fmt.Sprintf("is asleep, its memory is in %s: wake it up and shut it down, or give its memory up (virsh managedsave-remove), first", at)}
}

// tpmFolder is where libvirt keeps the state of a domain's emulated TPM.
const tpmFolder = "/var/lib/libvirt/swtpm"

// RestoreTPM puts the state of the TPM where libvirt looks for that of the domain. It
// says where, and "" where there is none.
func (m *Machine) RestoreTPM(uuid string) (string, error) {
	data := m.Config[tpmFile]
	if data == nil {
		return "", nil
	}
	if !isUUID(uuid) {
		return "", fmt.Errorf("restore the TPM's state: %.40q is no UUID", uuid)
	}
	at := filepath.Join(tpmFolder, uuid)
	if err := unpackState(data, at, m.Force); err != nil {
		return "", fmt.Errorf("restore the TPM's state to %s: %w", at, err)
	}
	return at, nil
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range s {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
		if dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return true
}
