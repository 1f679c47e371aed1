package blockstore

import (
	"cmp"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// ID names content.
type ID = content.ID

// Consistency is what was reached when a snapshot was taken.
type Consistency string

// The consistencies, weakest first.
const (
	Crash       Consistency = "crash"
	Filesystem  Consistency = "filesystem"
	Application Consistency = "application"
)

// Point is a recovery point: one machine at one moment. It depends on no other
// point and never changes. Its JSON form is the body of its record, which
// FORMAT.md describes; what is shown to people and programs is daemon/api's.
type Point struct {
	ID          PointID   `json:"id"`
	Machine     MachineID `json:"machine"`
	MachineName string    `json:"machine_name"` // when the point was made
	Seq         uint64    `json:"seq"`          // counts the machine's points from 1
	Parent      PointID   `json:"parent,omitempty"`
	Time        time.Time `json:"time"`      // instant of the snapshot
	Committed   time.Time `json:"committed"` // never before an older point's
	Writer      WriterID  `json:"writer"`
	Tool        string    `json:"tool"` // program and version that wrote it

	Asked   Consistency `json:"consistency_asked"`
	Reached Consistency `json:"consistency"`
	Reason  string      `json:"consistency_reason,omitempty"`

	// Of the VM, where it is known. A point of a machine that was off has no Quiesced.
	VM       *VM       `json:"vm,omitempty"`
	Quiesced *Quiesced `json:"quiesced,omitempty"`

	Disks   []DiskInfo   `json:"disks"`
	LeftOut []LeftOut    `json:"left_out,omitempty"`
	Config  []ConfigBlob `json:"config,omitempty"`
	Sizes   Sizes        `json:"sizes"` // sums over Disks
}

// Sizes are in bytes.
type Sizes struct {
	Logical   int64 `json:"logical"`   // as the guest sees its disks
	Protected int64 `json:"protected"` // allocated, non-zero
	Changed   int64 `json:"changed"`   // differs from the parent; all that is protected where there is none
	Stored    int64 `json:"stored"`    // added to packs by this backup, compressed, pages included
	Read      int64 `json:"read"`      // read from the source
}

// Add adds the sizes of one disk to those of a point.
func (s *Sizes) Add(t Sizes) {
	s.Logical += t.Logical
	s.Protected += t.Protected
	s.Changed += t.Changed
	s.Stored += t.Stored
	s.Read += t.Read
}

// DiskInfo is one disk of a point: what it held, and enough of what it was to
// make it again and to know it again.
type DiskInfo struct {
	Name           string `json:"name"`
	Root           ID     `json:"root"` // of its disk map
	Size           int64  `json:"size"` // bytes
	LogicalSector  int    `json:"logical_sector"`
	PhysicalSector int    `json:"physical_sector"`
	Format         string `json:"format"`               // of the source: raw, qcow2, block
	Source         string `json:"source"`               // where it was read
	Identity       string `json:"identity,omitempty"`   // of the source's files, for skipping it unread when equal
	Serial         string `json:"serial,omitempty"`     // as the guest sees it
	Bus            string `json:"bus,omitempty"`        // virtio, scsi, sata, ide
	BootOrder      int    `json:"boot_order,omitempty"` // 1 is first, 0 unknown

	Mode   ReadMode `json:"mode,omitempty"`        // empty: of a machine that was off, read whole
	Reason string   `json:"mode_reason,omitempty"` // why it was scanned
	Since  PointID  `json:"since,omitempty"`       // the older point from which its bitmap goes on counting; empty: none was left as it was
	Chain  []string `json:"chain,omitempty"`       // files that it consisted of, top first, where it was read by QEMU

	Sizes Sizes `json:"sizes"`
}

// Quiesced is how the guest was held still for the instant of a point.
type Quiesced struct {
	WindowMS float64      `json:"window_ms"`       // between freeze and thaw; 0: it was not frozen
	Agent    string       `json:"agent,omitempty"` // version of the guest agent; empty: none answered
	Hooks    []HookResult `json:"hooks,omitempty"` // that were run, in order
}

// HookResult is what became of a hook.
type HookResult struct {
	Command string `json:"command"`
	Guest   bool   `json:"guest,omitempty"` // it ran there
	After   bool   `json:"after,omitempty"` // after the thaw
	Error   string `json:"error,omitempty"` // empty: it succeeded
	Millis  int64  `json:"ms"`
}

// ReadMode says how a disk of a machine was read.
type ReadMode string

// The ways to read a disk.
const (
	ByBitmap ReadMode = "bitmap" // what was written since the parent, as a dirty bitmap tells
	ByScan   ReadMode = "scan"   // all of it, compared with the parent
)

// LeftOut is a disk of the machine that is not in the point.
type LeftOut struct {
	Name   string `json:"name"`
	Size   int64  `json:"size,omitempty"`
	Reason string `json:"reason"`
}

// ConfigBlob is one file of the machine's configuration.
type ConfigBlob struct {
	Name  string `json:"name"`
	Size  int64  `json:"size"`
	Parts []ID   `json:"parts"` // blobs, in order; each but the last holds maxBlob bytes
}

// Disk returns the point's disk of that name.
func (p *Point) Disk(name string) (*DiskInfo, error) {
	for i := range p.Disks {
		if p.Disks[i].Name == name {
			return &p.Disks[i], nil
		}
	}
	return nil, fmt.Errorf("disk %s of point %s@%s: %w", name, p.MachineName, p.ID, ErrNotFound)
}

// only returns the only disk that fits, nil where none or several do.
func (p *Point) only(fits func(*DiskInfo) bool) (found *DiskInfo) {
	for i := range p.Disks {
		if !fits(&p.Disks[i]) {
			continue
		}
		if found != nil {
			return nil
		}
		found = &p.Disks[i]
	}
	return found
}

// Compare orders the points of one machine: by sequence, then time of commit,
// then id. It says what `latest` and a parent are.
func (p *Point) Compare(q *Point) int {
	return cmp.Or(cmp.Compare(p.Seq, q.Seq), p.Committed.Compare(q.Committed), cmp.Compare(p.ID, q.ID))
}

// Label is the point's name in the mount and in listings: its time in UTC to
// the second, without a character that needs quoting; it sorts by time.
func (p *Point) Label() string { return p.Time.UTC().Format(LabelLayout) }

// LabelLayout is the layout of [Point.Label].
const LabelLayout = "2006-01-02T15-04-05Z"
