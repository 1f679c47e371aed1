package backup

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce"
)

// VM is a machine as its host lets us at it: a domain of libvirt, a QEMU process, or
// the images of a machine that is off. It is used by one run or command at a time.
type VM interface {
	// Facts says which VM it is and whether it is on.
	Facts(ctx context.Context) (Facts, error)

	// Disks lists all its disks, those that are not backed up among them.
	Disks(ctx context.Context) ([]VMDisk, error)

	// Images opens nothing: it says how disks are read while the VM is off.
	Images(ctx context.Context, names []string) ([]Disk, error)

	// Config returns what is needed to make the VM again, and what is missing of that. Secrets
	// are in it only when they are asked for.
	Config(ctx context.Context, secrets bool) (files []ConfigFile, missing []string)

	// State returns NVRAM and TPM state, and what is missing. Of a VM that is on it is
	// called while the guest is held, and takes a few milliseconds.
	State(ctx context.Context) (files []ConfigFile, missing []string)

	Close() error
}

// LiveVM is a VM that may be on. While it is off, Clean and Leftovers work all
// the same, where anything of ours can be left in it then.
type LiveVM interface {
	VM

	// Clean removes what runs that died left behind and, of the vault's bitmaps, all
	// but keep ("" keeps none); it says what it removed. Nothing of others is touched.
	Clean(ctx context.Context, vault, keep string) ([]string, error)

	// Leftovers says what Clean would remove.
	Leftovers(ctx context.Context, vault, keep string) ([]string, error)

	// Plan says what a backup of disks would cost now; parent is the bitmap of the newest point.
	Plan(ctx context.Context, names []string, parent string) ([]DiskPlan, error)

	// Snapshot fixes disks at one instant. Whatever it made is gone when it fails.
	Snapshot(ctx context.Context, q SnapshotRequest) (Snapshot, error)

	// Guest returns the agent in the guest and how others reach it. Without one the error says why.
	// Who asked closes an agent that can be closed.
	Guest(ctx context.Context) (quiesce.Guest, quiesce.Reach, error)
}

// Snapshot holds disks at one instant until it is released.
type Snapshot interface {
	Time() time.Time
	Disks() []SnapshotDisk
	// Watch returns why the snapshot must end or is not to be believed any more, nil when ctx ends.
	Watch(ctx context.Context) error
	// Check is one look of Watch. Without an error all that was read before is of the instant.
	Check(ctx context.Context) error
	// Release removes all that the snapshot made. committed says whether its point is in the vault:
	// else the parent's bitmap gets back what it knew.
	Release(ctx context.Context, committed bool) error
}

// SnapshotDisk is one disk of a snapshot.
type SnapshotDisk struct {
	blockstore.Source
	Name   string
	Mode   blockstore.ReadMode
	Reason string // of a scan
}

// SnapshotRequest says what to take a snapshot of.
type SnapshotRequest struct {
	Disks         []DiskRequest
	Parent, Point string // names of bitmaps; Parent is "" for a first point
	// Hold calls during at the instant to be kept, with the guest held still.
	Hold func(ctx context.Context, during func(context.Context) error) error
}

// DiskRequest names one disk.
type DiskRequest struct {
	Name string
	Scan string // why no bitmap is to be believed; "": it may be
}

// Facts are what a VM's host says of it.
type Facts struct {
	VM     blockstore.VM
	On     bool
	Clean  bool   // it is off, and its guest shut itself down
	Status string // running, paused, off, in the words of the host
	Agent  bool   // somebody in the guest holds the agent's channel open
}

// VMDisk is a disk of a VM.
type VMDisk struct {
	Name              string
	Source            string // where it lies
	Format            string
	Size              int64 // bytes; 0: not known
	Logical, Physical int   // sector sizes in bytes; 0: not known
	Serial, Bus       string
	BootOrder         int      // 1 is first, 0 unknown
	Chain             []string // what it consists of, top first, with formats
	Shareable         bool
	LeftOut           string // why it is not backed up by itself; "": it is
	Impossible        bool   // not even when asked for
}

// DiskPlan is what a backup would do with a disk.
type DiskPlan struct {
	Name    string
	Mode    blockstore.ReadMode
	Reason  string // of a scan
	Size    int64  // bytes
	ToRead  int64  // bytes, at most
	Scratch string // folder of what the guest overwrites meanwhile; "": none is needed
	Warning string
	Refusal string // why it cannot be backed up as it is
}

// ConfigFile is a file of a machine's configuration.
type ConfigFile struct {
	Name string
	Data []byte
}

// Names of the files of a machine's configuration; those of networks, pools and
// filters are made of their names.
const (
	DomainXML   = "domain.xml"
	CommandLine = "qemu-command-line" // one argument a line
	NVRAM       = "nvram.fd"
	TPMState    = "tpm.tar"
	MachineJSON = "machine.json"
)

// words are leftovers as people read them.
func words[L fmt.Stringer](list []L, err error) (all []string, _ error) {
	for _, l := range list {
		all = append(all, l.String())
	}
	return all, err
}
