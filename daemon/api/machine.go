package api

// FoundVM is a VM that runs, or is defined, on this host.
type FoundVM struct {
	Name      string   `json:"name"` // as its host knows it
	UUID      string   `json:"uuid,omitempty"`
	Kind      string   `json:"kind"`  // libvirt or qemu
	State     string   `json:"state"` // in the words of the host
	URI       string   `json:"uri,omitempty"`
	PID       int      `json:"pid,omitempty"`
	QMP       string   `json:"qmp,omitempty"`   // socket of the monitor
	QGA       string   `json:"qga,omitempty"`   // socket of the guest agent
	Agent     string   `json:"agent,omitempty"` // connected, disconnected; missing: no channel
	Disks     []VMDisk `json:"disks"`
	Machine   string   `json:"machine,omitempty"` // that protects it, in the vault that is named
	Suggested string   `json:"suggested_name"`    // that a machine of it could have
	Unclear   string   `json:"unclear,omitempty"` // what could not be asked, and why
	Tags      []string `json:"tags,omitempty"`    // of a libvirt domain: words of its title, and of its metadata
}

// VMDisk is a disk of a VM.
type VMDisk struct {
	Name    string `json:"name"`
	Source  string `json:"source"`
	Format  string `json:"format,omitempty"`
	Size    int64  `json:"size,omitempty"` // missing: not known
	LeftOut string `json:"left_out,omitempty"`
}

// DiskPlan is what a backup would do with a disk.
type DiskPlan struct {
	Name    string `json:"name"`
	Mode    string `json:"mode"` // bitmap or scan
	Reason  string `json:"reason,omitempty"`
	Size    int64  `json:"size"`
	ToRead  int64  `json:"to_read"` // bytes, at most
	Scratch string `json:"scratch,omitempty"`
	Warning string `json:"warning,omitempty"`
	Refusal string `json:"refusal,omitempty"`
}

// Machine is a machine of a vault.
type Machine struct {
	ID         string      `json:"id"`
	Name       string      `json:"name"`
	Protected  bool        `json:"protected"`
	Protection *Protection `json:"protection,omitempty"`
	State      string      `json:"state,omitempty"` // running, shut off, gone, ...; missing: not asked
	Points     int         `json:"points"`
	Newest     *Time       `json:"newest,omitempty"`
	HeldUntil  *Time       `json:"held_until,omitempty"`
}

// Protection is how a machine is backed up.
type Protection struct {
	Since         Time        `json:"since"`
	Kind          string      `json:"kind"` // libvirt, qemu or images
	VM            string      `json:"vm,omitempty"`
	UUID          string      `json:"uuid,omitempty"`
	URI           string      `json:"uri,omitempty"`
	QMP           string      `json:"qmp,omitempty"`
	QGA           string      `json:"qga,omitempty"`
	Images        []ImageDisk `json:"images"`
	Exclude       []string    `json:"exclude"`
	Shareable     bool        `json:"shareable"`
	Consistency   string      `json:"consistency"`
	Otherwise     string      `json:"otherwise"` // fail or fall-back
	FreezeTimeout float64     `json:"freeze_timeout_seconds"`
	Mounts        []string    `json:"mounts"`
	Hooks         []Hook      `json:"hooks"`
	RawBitmaps    bool        `json:"raw_bitmaps"`
	Samples       int         `json:"samples"`
	Scratch       string      `json:"scratch,omitempty"` // missing: where it is usual
	Windows       bool        `json:"windows,omitempty"`
	AcceptVSS     bool        `json:"accept_vss,omitempty"`
}

// ImageDisk is where a disk lies.
type ImageDisk struct {
	Name    string   `json:"name"`
	Path    string   `json:"path"`
	Format  string   `json:"format,omitempty"`
	Backing []string `json:"backing"`

	Unreadable string `json:"unreadable,omitempty"` // why it is in no point that is made while the VM is off
}

// Hook is a pair of commands around a snapshot.
type Hook struct {
	Place             string `json:"place"` // host or guest
	Pre               string `json:"pre,omitempty"`
	Post              string `json:"post,omitempty"`
	ContinueOnFailure bool   `json:"continue_on_failure"`
	// Timeout is that of each of its commands, in seconds; 0: the usual one.
	Timeout float64 `json:"timeout_seconds,omitempty"`
}

// Protect is the outcome of protecting a machine.
type Protect struct {
	Machine  Machine    `json:"machine"`
	Why      string     `json:"consistency_reason,omitempty"` // of a consistency that was chosen, not given
	Plan     []DiskPlan `json:"plan"`
	LeftOut  []LeftOut  `json:"left_out"`
	Warnings []string   `json:"warnings"`
}

// Unprotect is the outcome of ending a protection.
type Unprotect struct {
	Machine Machine  `json:"machine"`
	Removed []string `json:"removed"` // what was ours in the VM
	Deleted int      `json:"deleted"` // points that went into the trash

	Notes    []string `json:"notes"`
	Warnings []string `json:"warnings"` // what stays in the VM
}

// MachineHold is until when no backup of machines begins.
type MachineHold struct {
	Machines []string `json:"machines"` // none: all
	Until    *Time    `json:"until,omitempty"`
	Released int      `json:"released"`
}

// Doctor is what was found in a VM.
type Doctor struct {
	Machine   string     `json:"machine"`
	VM        string     `json:"vm,omitempty"`
	UUID      string     `json:"uuid,omitempty"`
	State     string     `json:"state"`
	Agent     string     `json:"agent"` // answers, or why not
	Leftovers []string   `json:"leftovers"`
	Cleaned   bool       `json:"cleaned"` // the leftovers were removed
	Plan      []DiskPlan `json:"plan"`
	LeftOut   []LeftOut  `json:"left_out"`
	Warnings  []string   `json:"warnings"`
}
