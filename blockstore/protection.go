package blockstore

import (
	"errors"
	"fmt"
	"time"
)

// Protection is how a machine is backed up: which VM it is, how that is reached
// and what is asked of a backup. Exactly one of Libvirt, QEMU and Images says
// how it is reached; QEMU remembers images besides. Slices in it are shared: they are
// replaced, never changed.
type Protection struct {
	Since time.Time `json:"since"`
	VM    VM        `json:"vm"`

	Libvirt *LibvirtVM  `json:"libvirt,omitempty"`
	QEMU    *QEMUVM     `json:"qemu,omitempty"`
	Images  []ImageDisk `json:"images,omitempty"`

	Exclude   []string `json:"exclude,omitempty"`   // names of disks
	Shareable bool     `json:"shareable,omitempty"` // back shareable disks up, too

	// ExcludedAt is where disks of Exclude lay when they were excluded, by name, as far as that is known.
	ExcludedAt map[string]string `json:"excluded_at,omitempty"`

	Consistency   Consistency `json:"consistency"`
	FallBack      bool        `json:"fall_back,omitempty"` // where it is not reached; otherwise the backup fails
	FreezeTimeout int64       `json:"freeze_timeout_ms,omitempty"`
	Mounts        []string    `json:"mounts,omitempty"` // to freeze, as the guest names them; none: all
	Hooks         []Hook      `json:"hooks,omitempty"`

	RawBitmaps bool `json:"raw_bitmaps,omitempty"` // of raw disks under libvirt, by a way that marks the domain as tainted
	Samples    int  `json:"samples,omitempty"`     // clean blocks that are read again in each run; 0: as many as usual, negative: none

	// Where what the guest overwrites during a backup is kept, how much of it all backups
	// together may use there, and how much stays free, in bytes; empty and 0: as usual.
	Scratch     string `json:"scratch,omitempty"`
	ScratchCap  int64  `json:"scratch_cap,omitempty"`
	ScratchFree int64  `json:"scratch_free,omitempty"`

	Windows   bool `json:"windows,omitempty"`    // the guest is one
	AcceptVSS bool `json:"accept_vss,omitempty"` // a person knows what VSS does to logs of SQL Server

	// Tags are those of its domain when somebody looked last, sorted: which policy it
	// belongs to is told by them while libvirt does not answer.
	Tags []string `json:"tags,omitempty"`
}

// VM is a virtual machine as its host knows it, whatever it is called here.
type VM struct {
	UUID string `json:"uuid,omitempty"` // empty: it has none
	Name string `json:"name,omitempty"`
	Kind VMKind `json:"kind,omitempty"`
	Host string `json:"host,omitempty"` // version of QEMU, of a point
}

// VMKind says how a VM is reached.
type VMKind string

// The kinds of VMs.
const (
	KindLibvirt VMKind = "libvirt"
	KindQEMU    VMKind = "qemu"   // a process, by its monitor
	KindImages  VMKind = "images" // files of a machine that is off
)

// LibvirtVM is a domain.
type LibvirtVM struct {
	URI  string `json:"uri"`
	UUID string `json:"uuid"`
}

// QEMUVM is a QEMU process with the sockets of its monitor and its guest agent.
type QEMUVM struct {
	QMP string `json:"qmp"`
	QGA string `json:"qga,omitempty"`
}

// ImageDisk is where a disk lies.
type ImageDisk struct {
	Name    string   `json:"name"`
	Path    string   `json:"path"`
	Format  string   `json:"format,omitempty"`
	Backing []string `json:"backing,omitempty"` // folders of its backing files

	Shareable  bool   `json:"shareable,omitempty"`  // others may write to it, too
	Unreadable string `json:"unreadable,omitempty"` // why it cannot be read from there while the VM is off; "": it can
}

// Hook is a pair of commands that are run around the instant of a snapshot, each for
// a shell; one of them may be missing.
type Hook struct {
	Pre   string `json:"pre,omitempty"`
	Post  string `json:"post,omitempty"`
	Guest bool   `json:"guest,omitempty"`    // in the guest, by its agent
	GoOn  bool   `json:"go_on,omitempty"`    // the backup goes on where Pre fails
	Limit int64  `json:"limit_ms,omitempty"` // each may run so long; 0: as long as usual
}

const maxHooks, maxTags = 32, 64

// Check refuses what cannot be backed up so.
func (p *Protection) Check() error {
	ways := 0
	for _, has := range []bool{p.Libvirt != nil, p.QEMU != nil, p.QEMU == nil && len(p.Images) > 0} {
		if has {
			ways++
		}
	}
	if ways != 1 {
		return fmt.Errorf("a machine is reached in one way, this one in %d", ways)
	}
	errs := []error{checkConsistency(p.Consistency)}
	seen := map[string]bool{}
	for _, d := range p.Images {
		errs = append(errs, CheckDiskName(d.Name))
		if d.Path == "" || seen[d.Name] {
			errs = append(errs, fmt.Errorf("disk %s has no path, or is named twice", d.Name))
		}
		seen[d.Name] = true
	}
	for _, name := range p.Exclude {
		errs = append(errs, CheckDiskName(name))
	}
	if len(p.Hooks) > maxHooks {
		errs = append(errs, fmt.Errorf("%d hooks, at most %d are run", len(p.Hooks), maxHooks))
	}
	for _, h := range p.Hooks {
		if h.Pre+h.Post == "" || h.Limit < 0 {
			errs = append(errs, fmt.Errorf("hook %q with a limit of %d ms", h.Pre+h.Post, h.Limit))
		}
	}
	if len(p.Tags) > maxTags {
		errs = append(errs, fmt.Errorf("%d tags, at most %d are kept", len(p.Tags), maxTags))
	}
	if p.FreezeTimeout < 0 {
		errs = append(errs, fmt.Errorf("freeze time-out of %d ms", p.FreezeTimeout))
	}
	return errors.Join(errs...)
}

func checkConsistency(c Consistency) error {
	switch c {
	case Crash, Filesystem, Application:
		return nil
	}
	return fmt.Errorf("consistency %.20q: choose %s, %s or %s", c, Crash, Filesystem, Application)
}

// Kind says how the machine is reached.
func (p *Protection) Kind() VMKind {
	switch {
	case p.Libvirt != nil:
		return KindLibvirt
	case p.QEMU != nil:
		return KindQEMU
	}
	return KindImages
}

// FreezeLimit is how long a freeze may last at most.
func (p *Protection) FreezeLimit() time.Duration {
	if p.FreezeTimeout == 0 {
		return DefaultFreezeLimit
	}
	return time.Duration(p.FreezeTimeout) * time.Millisecond
}

// DefaultFreezeLimit is how long a freeze may last unless a machine says otherwise.
const DefaultFreezeLimit = 10 * time.Second
