package status

import (
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
)

// Facts are what a status is made of.
type Facts struct {
	Now     time.Time
	Host    string
	Vaults  []VaultFacts
	VMs     []api.FoundVM // of this host
	Unasked string        // why the VMs of this host could not all be asked; "": they were
	Ignored []string      // names of machines and VMs that nobody minds to see unprotected
	Before  *api.Status   // the status before; nil: none is known
}

// VaultFacts are what is known of one vault.
type VaultFacts struct {
	Vault    api.Vault
	Problem  string // why it cannot be read; then nothing below is set
	Unowned  string // why nothing can be stored in it; "": it can, as far as is known
	Waits    string // for whom who stores in it waits; "": for nobody
	Unread   string // why some of its records cannot be read; "": all can
	Machines []MachineFacts
	Policies int // that it has

	Trash  int // points in it
	Harmed int // points of which something cannot be read

	Damaged    int   // pieces that are noted as damaged
	Unique     int64 // bytes of distinct blocks, before compression; 0: not known
	Packs      int64 // bytes of packs
	Free, Size int64 // of the file system, in bytes
	Floor      int64
	Used       []Sample // of the file system, now and then

	Sweep, Check time.Time // zero: not known
	Clock        string    // why the clock is not believed; "": it is
	HeldUntil    time.Time
	SweepProblem string // of the last sweep; "": it went well, or is not known
	CheckProblem string // of the last check
}

// MachineFacts are what is known of one machine.
type MachineFacts struct {
	Machine   api.Machine // of its points, nothing is believed
	Policy    *api.Policy // nil: none
	Ambiguous string      // which policies claim it alike; "": not more than one does
	Points    []Point     // listed and in the trash, oldest first
	VM        *api.FoundVM
	Job       *api.Job // its last backup that is over; nil: none is known
	Due       time.Time
}

// Point is what a status needs of a recovery point.
type Point struct {
	policy.Point
	Committed  time.Time
	Deleted    time.Time // into the trash; zero: it is listed
	First      bool      // it has no parent
	Asked      policy.Consistency
	Reason     string // why not more was reached
	Mode       string // bitmap, scan or mixed; "": the machine was off
	ModeReason string
	Sizes      api.Sizes
}

// listed returns the points that are not in the trash.
func listed(points []Point) []Point {
	if !slices.ContainsFunc(points, func(p Point) bool { return !p.Deleted.IsZero() }) {
		return points // as most often: many thousand points are not copied
	}
	all := make([]Point, 0, len(points))
	for _, p := range points {
		if p.Deleted.IsZero() {
			all = append(all, p)
		}
	}
	return all
}

// flaws returns why each point is not good, "" where it is.
func (m *MachineFacts) flaws(points []Point) []string {
	r := policy.Rules{}
	if m.Policy != nil {
		r.Consistency = policy.Consistency(m.Policy.Consistency)
	}
	if m.Machine.Protection != nil {
		r.Exclude = m.Machine.Protection.Exclude
	}
	plain := make([]policy.Point, len(points))
	for i := range points {
		plain[i] = points[i].Point
	}
	flaws := make([]string, len(points))
	for i, v := range r.Decide(plain, time.Time{}) {
		flaws[i] = v.Flaw
	}
	return flaws
}

// DiskMode is how a disk was read, and why it was scanned.
type DiskMode struct{ Name, Mode, Reason string }

// Modes says how the disks of a point were read, in one word, and why.
func Modes(disks []DiskMode) (mode, reason string) {
	for _, d := range disks {
		switch {
		case d.Mode == "":
		case mode == "":
			mode = d.Mode
		case mode != d.Mode:
			mode = "mixed"
		}
		if d.Mode == "scan" && reason == "" && d.Reason != "" {
			reason = d.Name + ": " + d.Reason
		}
	}
	return mode, reason
}

func maybe(t time.Time) *api.Time {
	if t.IsZero() {
		return nil
	}
	a := api.At(t)
	return &a
}
