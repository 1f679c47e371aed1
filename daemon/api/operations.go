package api

import "context"

// Operations are what can be asked of vaults and machines, each once: the
// daemon does them for its clients, commands do them themselves where no daemon
// owns the vault, and [Client] asks a daemon. A vault is named by its id, its
// name, or its path. Errors that a person should understand are, or wrap, a
// [*Problem] when they come from a client.
type Operations interface {
	Reading
	Jobs
	Changing
}

// Reading changes nothing.
type Reading interface {
	Vaults(ctx context.Context) ([]VaultInfo, error)
	Machines(ctx context.Context, vault string) ([]Machine, error)
	// Points returns the points of one machine, or of all where it is "".
	Points(ctx context.Context, vault, machine string) ([]Point, error)
	Policies(ctx context.Context, vault string) ([]Policy, error)
	Trash(ctx context.Context, vault string) ([]Trashed, error)
	PlanPrune(ctx context.Context, vault string, o PruneOptions) ([]Prune, error)
}

// Jobs are what takes its time.
type Jobs interface {
	// Start queues a job and returns at once. The job does not end with ctx. Files that come with
	// the request are closed when they are needed no more, also where Start fails.
	Start(ctx context.Context, r JobRequest) (Job, error)
	// Follow calls fn with how a job stands, at once and whenever that changes, until it is
	// over, fn fails or ctx ends.
	Follow(ctx context.Context, id string, fn func(JobEvent) error) error
	Jobs(ctx context.Context, q JobQuery) ([]Job, error)
	Job(ctx context.Context, id string) (Job, error)
	// CancelJob asks a job to end; one that is over stays as it is.
	CancelJob(ctx context.Context, id string) error
	// RetryJob starts a job again that failed, was cancelled or interrupted.
	RetryJob(ctx context.Context, id string) (Job, error)
}

// Changing are the small changes, done when they return.
type Changing interface {
	ChangePoints(ctx context.Context, vault string, r PointsRequest) ([]PointChange, error)
	GiveUpPoint(ctx context.Context, vault string, p PointRef) (PointChange, error)
	Protect(ctx context.Context, vault string, r ProtectRequest) (Protect, error)
	Unprotect(ctx context.Context, vault, machine string, r UnprotectRequest) (Unprotect, error)
	RenameMachine(ctx context.Context, vault, machine, to string) (Machine, error)
	HoldMachine(ctx context.Context, vault, machine string, until Time) (MachineHold, error)
	ReleaseMachine(ctx context.Context, vault, machine string) (MachineHold, error)
	SetPolicies(ctx context.Context, vault string, r PoliciesRequest) ([]PolicyChange, error)
	RemovePolicy(ctx context.Context, vault, name string) error
}

// What is done to points.
const (
	DeletePoint   = "delete" // into the trash
	UndeletePoint = "undelete"
	LockPoint     = "lock"
	NotePoint     = "note"
)

// PointsRequest asks for the same change of some points: of all, or of none when one is not found.
type PointsRequest struct {
	Change string     `json:"change"` // delete, undelete, lock or note
	Points []PointRef `json:"points"`
	Until  *Time      `json:"until,omitempty"` // of a lock
	Note   string     `json:"note,omitempty"`
}

// PointChange is what became of one point.
type PointChange struct {
	Point     Point `json:"point"`
	ExpiresOn *Time `json:"expires_on,omitempty"` // from when on a deleted one is dropped
}

// ProtectRequest says how a machine is backed up. Of Protection, what the host says itself
// (since, windows, the VM's name and UUID) is ignored.
type ProtectRequest struct {
	Name       string     `json:"name,omitempty"`   // empty: the VM's own, as far as a machine can be called so
	Domain     string     `json:"domain,omitempty"` // of libvirt, at Protection.URI, by name or UUID
	NewVM      bool       `json:"new_vm,omitempty"` // another VM may take the machine's place
	Scratch    Scratch    `json:"scratch,omitzero"`
	Protection Protection `json:"protection"`
}

// UnprotectRequest says how far the end of a protection goes.
type UnprotectRequest struct {
	DeletePoints bool    `json:"delete_points,omitempty"` // into the trash
	LeaveBehind  bool    `json:"leave_behind,omitempty"`  // what is ours stays in a VM that cannot be reached
	Scratch      Scratch `json:"scratch,omitzero"`
}

// PoliciesRequest makes policies those of a vault.
type PoliciesRequest struct {
	Policies     []PolicySpec `json:"policies"`
	RemoveOthers bool         `json:"remove_others,omitempty"`
	DryRun       bool         `json:"dry_run,omitempty"`
}

// PolicySpec is a policy as people write it, with the keys of a policy file.
type PolicySpec struct {
	Name        string   `json:"name"`
	Machines    []string `json:"machines"`
	Schedule    string   `json:"schedule,omitempty"`
	Timezone    string   `json:"timezone,omitempty"`
	Window      string   `json:"window,omitempty"`
	Jitter      *string  `json:"jitter,omitempty"`
	MaxDuration string   `json:"max_duration,omitempty"`
	Consistency string   `json:"consistency,omitempty"`
	Otherwise   string   `json:"otherwise,omitempty"`
	Keep        Keep     `json:"keep"`
	TrashDays   int      `json:"trash_days,omitempty"`
	RPO         string   `json:"rpo,omitempty"`
	LibvirtTag  string   `json:"libvirt_tag,omitempty"`
	Retries     *int     `json:"retries,omitempty"` // nil: as usual
	Priority    int      `json:"priority,omitempty"`
	ReadRate    string   `json:"read_rate,omitempty"` // a size, a second
	WriteRate   string   `json:"write_rate,omitempty"`
	Verify      *float64 `json:"verify_percent,omitempty"` // nil: as usual
}
