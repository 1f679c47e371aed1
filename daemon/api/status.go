package api

import (
	"context"
	"fmt"
)

// Watching tells how all stands. It is part of what can be asked of vaults and
// machines, beside [Operations].
type Watching interface {
	// Status tells how the machines and vaults are. A vault that cannot be read is in it with a
	// problem, and with what was known of it last.
	Status(ctx context.Context, q StatusQuery) (Status, error)
	// Usage tells what machines used of a vault, month by month.
	Usage(ctx context.Context, vault string, q UsageQuery) (Usage, error)
	// Ignore changes the list of names that nobody minds to see unprotected, and returns it.
	Ignore(ctx context.Context, r IgnoreRequest) ([]string, error)
}

// StatusQuery chooses what a status tells of; the zero value: everything.
type StatusQuery struct {
	Vault   string `json:"vault,omitempty"`   // id, name or path; "": all
	Machine string `json:"machine,omitempty"` // name or id; "": all
	NoHost  bool   `json:"no_host,omitempty"` // the VMs of this host are not asked
}

// IgnoreRequest changes which machines and VMs nobody minds to see unprotected.
type IgnoreRequest struct {
	Names  []string `json:"names,omitempty"` // none: the list is returned as it is
	Remove bool     `json:"remove,omitempty"`
}

// Status is how all stands at a time.
type Status struct {
	Time   Time   `json:"time"` // of which it is true
	Host   string `json:"host"`
	AtRisk bool   `json:"at_risk"`
	// Reasons are why, each beginning with what it is about. Warnings are what somebody should
	// look at.
	Reasons  []string        `json:"reasons"`
	Warnings []string        `json:"warnings"`
	Vaults   []VaultStatus   `json:"vaults"`
	Machines []MachineStatus `json:"machines"`
	// VMs are those of this host that no machine stands for, and that are not ignored.
	VMs     []UnprotectedVM `json:"unprotected_vms"`
	Ignored []string        `json:"ignored"` // names that nobody minds to see unprotected
}

// MachineStatus is how one machine of a vault is protected.
type MachineStatus struct {
	Name      string   `json:"name"`
	ID        string   `json:"id"`
	Vault     string   `json:"vault"`            // its name
	Policy    string   `json:"policy,omitempty"` // missing: none
	State     string   `json:"state,omitempty"`  // of its VM: running, shut off, GONE (migrated?), ...
	Protected bool     `json:"protected"`        // it is known how to back it up
	AtRisk    bool     `json:"at_risk"`
	Reasons   []string `json:"reasons"`
	Warnings  []string `json:"warnings"`

	Points int `json:"points"`
	// Good is the newest point that is committed, undamaged, of the required consistency
	// and short of no disk; Last is the newest, whatever it is like.
	Good      *PointBrief `json:"last_good,omitempty"`
	Last      *PointBrief `json:"last,omitempty"`
	Age       *int64      `json:"age_seconds,omitempty"` // of Good
	Objective int64       `json:"rpo_seconds"`           // that Age may be; 0: nobody minds
	Missed    bool        `json:"rpo_missed"`
	Next      *Time       `json:"next_run,omitempty"`

	Protects    int64 `json:"protected_size"` // of Last, in bytes
	Trend       int64 `json:"trend"`          // by how much it grew in TrendDays
	TrendDays   int   `json:"trend_days"`     // 0: there is no older point
	Stored      int64 `json:"stored"`         // bytes that its points added to the vault
	HeldUntil   *Time `json:"held_until,omitempty"`
	Unprotected *Time `json:"unprotected_since,omitempty"`
	Ignored     bool  `json:"ignored,omitempty"` // nobody minds that it is unprotected

	Job *JobBrief `json:"last_job,omitempty"` // the last backup
}

// PointBrief is a point in a few words.
type PointBrief struct {
	ID          string `json:"id"`
	Time        Time   `json:"time"`
	Consistency string `json:"consistency"` // reached
	Asked       string `json:"consistency_asked"`
	Reason      string `json:"consistency_reason,omitempty"`
	Mode        string `json:"mode,omitempty"` // bitmap, scan, or mixed; missing: the machine was off
	ModeReason  string `json:"mode_reason,omitempty"`
	Flaw        string `json:"flaw,omitempty"` // why it is not good
}

// JobBrief is a job in a few words.
type JobBrief struct {
	ID      string   `json:"id"`
	State   string   `json:"state"`
	Ended   *Time    `json:"ended,omitempty"`
	Problem *Problem `json:"error,omitempty"`
}

// VaultStatus is how a vault is.
type VaultStatus struct {
	Vault
	Problem string `json:"problem,omitempty"` // why it cannot be read now
	AsOf    *Time  `json:"as_of,omitempty"`   // the rest was true then; missing: now
	AtRisk  bool   `json:"at_risk"`
	// Reasons are why. Warnings are what somebody should look at.
	Reasons  []string `json:"reasons"`
	Warnings []string `json:"warnings"`

	Machines int `json:"machines"`           // that have points
	Watched  int `json:"protected_machines"` // of which it is known how to back them up
	Policies int `json:"policies"`
	Points   int `json:"points"`
	Trash    int `json:"trash"`   // points in it
	Damaged  int `json:"damaged"` // pieces that are noted as damaged
	Harmed   int `json:"harmed"`  // points of which something cannot be read

	// Logical and Protects are sums over all listed points, Unique is what of that
	// differs, before compression, and Stored what the vault's packs take up.
	Logical  int64   `json:"logical"`     // as the guests see their disks
	Protects int64   `json:"protected"`   // allocated and not zero
	Unique   int64   `json:"unique"`      // 0: not known
	Stored   int64   `json:"stored"`      // bytes in the vault
	Dedup    float64 `json:"dedup"`       // protected / unique; 0: not known
	Compress float64 `json:"compression"` // unique / stored; 0: not known

	Free      int64   `json:"free"`
	Size      int64   `json:"size"`  // of its file system
	Floor     int64   `json:"floor"` // of free space: below it no backup begins
	Forecast  *Growth `json:"forecast,omitempty"`
	Sweep     *Time   `json:"last_sweep,omitempty"`
	Check     *Time   `json:"last_check,omitempty"`
	Clock     string  `json:"clock,omitempty"` // why this host's clock is not believed
	HeldUntil *Time   `json:"held_until,omitempty"`
}

// Growth is how fast a vault fills, as far as that can be told.
type Growth struct {
	// PerDay are bytes that each day added, over the last Days; Least and Most are the slowest and
	// the fastest week among them. Negative: it becomes less.
	PerDay int64 `json:"per_day"`
	Least  int64 `json:"per_day_least"`
	Most   int64 `json:"per_day_most"`
	Days   int   `json:"days"`
	// Measured tells that this is what the vault's file system really gained, sweeps and all. Else it is what
	// backups added, and the vault is full later rather than earlier.
	Measured bool `json:"measured"`
	// Full is when free space reaches the floor at that rate, Early at the fastest
	// week's and Late at the slowest one's; missing: not within ten years.
	Full  *Time `json:"full,omitempty"`
	Early *Time `json:"full_early,omitempty"`
	Late  *Time `json:"full_late,omitempty"`
}

// UnprotectedVM is a VM of this host that no machine of any vault stands for.
type UnprotectedVM struct {
	Name  string `json:"name"`
	UUID  string `json:"uuid,omitempty"`
	State string `json:"state,omitempty"`
	PID   int    `json:"pid,omitempty"` // of a QEMU process that is not libvirt's
	// Ignore are the words of which each lets `holdfast ignore` leave it out: its name, its UUID or, of one
	// that has neither, disk:PATH.
	Ignore []string `json:"ignore,omitempty"`
	Size   int64    `json:"size"`            // of its disks as the guest sees them
	Since  *Time    `json:"since,omitempty"` // when it was first seen so
}

// Label is how the VM is called where people read: its name or, where it has none, what else identifies it.
func (vm *UnprotectedVM) Label() string {
	switch {
	case vm.Name != "":
		return vm.Name
	case len(vm.Ignore) > 0:
		return vm.Ignore[0]
	}
	return fmt.Sprintf("of pid %d, without name and disks", vm.PID)
}
