package api

// Sizes are in bytes.
type Sizes struct {
	Logical   int64 `json:"logical"`   // as the guest sees its disks
	Protected int64 `json:"protected"` // allocated and not zero
	Changed   int64 `json:"changed"`   // differs from the parent point; all that is protected where there is none
	Stored    int64 `json:"stored"`    // added to the vault by this point, compressed
	Read      int64 `json:"read"`      // read from the source
}

// Point is a recovery point: one machine at one moment.
type Point struct {
	ID        string `json:"id"`
	Machine   string `json:"machine"` // its name when the point was made
	MachineID string `json:"machine_id"`
	Time      Time   `json:"time"`      // instant of the snapshot
	Committed Time   `json:"committed"` // from when on it could be restored
	Seq       uint64 `json:"seq"`       // counts the machine's points from 1
	Parent    string `json:"parent,omitempty"`
	Writer    string `json:"writer"`
	Tool      string `json:"tool"` // program and version that wrote it

	Consistency       string `json:"consistency"` // crash, filesystem or application: what was reached
	ConsistencyAsked  string `json:"consistency_asked"`
	ConsistencyReason string `json:"consistency_reason,omitempty"`

	VM       *VM       `json:"vm,omitempty"`
	Quiesced *Quiesced `json:"quiesced,omitempty"` // missing: the machine was off, and its image was read whole

	Sizes   Sizes        `json:"sizes"` // sums over the disks
	Disks   []Disk       `json:"disks"`
	Config  []ConfigFile `json:"config"`
	LeftOut []LeftOut    `json:"left_out"`

	// What was added to the point since; only where attributes are asked for.
	Deleted *Time  `json:"deleted,omitempty"` // in the trash since then
	Locked  *Time  `json:"locked,omitempty"`  // not to be dropped before
	Note    string `json:"note,omitempty"`
	// Verified is since when all of it was read back: each block of the vault at
	// that time or later.
	Verified *Time `json:"verified,omitempty"`
}

// Disk is one disk of a point.
type Disk struct {
	Name           string `json:"name"`
	Size           int64  `json:"size"` // bytes
	Format         string `json:"format"`
	Source         string `json:"source"`
	LogicalSector  int    `json:"logical_sector"`
	PhysicalSector int    `json:"physical_sector"`
	Serial         string `json:"serial,omitempty"`
	Bus            string `json:"bus,omitempty"`
	BootOrder      int    `json:"boot_order,omitempty"` // 1 is first
	Mode           string `json:"mode,omitempty"`       // bitmap or scan; missing: the machine was off
	ModeReason     string `json:"mode_reason,omitempty"`
	Sizes          Sizes  `json:"sizes"`
}

// VM is a virtual machine as its host knows it.
type VM struct {
	UUID string `json:"uuid,omitempty"`
	Name string `json:"name,omitempty"`
	Kind string `json:"kind,omitempty"` // libvirt, qemu or images
	Host string `json:"host,omitempty"` // version of what runs it
}

// Quiesced is how a guest was held still for the instant of a point.
type Quiesced struct {
	WindowMS float64      `json:"window_ms"` // frozen for so long; 0: it was not
	Agent    string       `json:"agent,omitempty"`
	Hooks    []HookResult `json:"hooks"`
}

// HookResult is what became of a command around a snapshot.
type HookResult struct {
	Command string  `json:"command"`
	Place   string  `json:"place"` // host or guest
	Phase   string  `json:"phase"` // pre or post
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
}

// ConfigFile is one file of the machine's configuration.
type ConfigFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// LeftOut is a disk of the machine that is not in the point.
type LeftOut struct {
	Name   string `json:"name"`
	Size   int64  `json:"size,omitempty"`
	Reason string `json:"reason"`
}
