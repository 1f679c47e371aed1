package api

// Vault describes a vault.
type Vault struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Path      string `json:"path"`
	BlockSize int    `json:"block_size"` // bytes
	Codec     string `json:"codec"`
	Encrypted bool   `json:"encrypted"`
	Created   Time   `json:"created"`
	TrashDays int    `json:"trash_days"` // how long deleted points can be undeleted
}

// Key is one way to open a sealed vault.
type Key struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"` // passphrase, or age
	Recipient string `json:"recipient,omitempty"`
	Note      string `json:"note,omitempty"`
	Added     Time   `json:"added"`
}

// VaultInfo is a vault and what it holds.
type VaultInfo struct {
	Vault
	Machines int   `json:"machines"`
	Points   int   `json:"points"`
	Trash    int   `json:"trash"`            // points in it
	Locked   int   `json:"locked"`           // points whose lock is not over
	Oldest   *Time `json:"oldest,omitempty"` // instant of the oldest point
	Newest   *Time `json:"newest,omitempty"` // instant of the newest point
	// SizeOnDisk is what the vault's files take up in their file system, and Free what
	// that has left, in bytes.
	SizeOnDisk int64 `json:"size_on_disk"`
	Free       int64 `json:"free"`
	// Owner is who wrote into the vault last, CopyOf the path of the vault that it
	// is a copy of, and HeldUntil when things may be removed from it again.
	Owner     *Owner `json:"owner,omitempty"`
	CopyOf    string `json:"copy_of,omitempty"`
	HeldUntil *Time  `json:"held_until,omitempty"`
}

// Owner is a process that wrote, or writes, into a vault.
type Owner struct {
	Writer   string `json:"writer"` // the installation's id in packs and points
	Host     string `json:"host"`
	ThisHost bool   `json:"this_host"`
	PID      int    `json:"pid"`
	Command  string `json:"command"`
	Opened   Time   `json:"opened"`
	Ended    bool   `json:"ended"` // it left the vault in order; otherwise it may run still, or have died
}

// TakeOver is what taking a vault over did.
type TakeOver struct {
	Vault  Vault  `json:"vault"`            // as it is now
	From   *Owner `json:"from,omitempty"`   // whom this host replaced
	OldID  string `json:"old_id,omitempty"` // set when the vault has another id now
	CopyOf string `json:"copy_of,omitempty"`
}

// Hold is until when nothing is removed from a vault.
type Hold struct {
	Until    *Time `json:"until,omitempty"`
	Released int   `json:"released"` // holds that were ended
}

// Check is what walking the vault's invariants found.
type Check struct {
	Job       string  `json:"job,omitempty"` // id of the daemon's job that did it; "": the command did
	Data      bool    `json:"data"`          // every block was read and hashed
	Points    int64   `json:"points"`
	Pages     int64   `json:"pages"`
	Blocks    int64   `json:"blocks"`
	Packs     int64   `json:"packs"`
	Segments  int64   `json:"segments"`
	BytesRead int64   `json:"bytes_read"`
	Faults    []Fault `json:"faults"`
	// ReadSince is the time since when every pack was read, by this check or earlier ones.
	ReadSince *Time `json:"read_since,omitempty"`
}

// Fault is one thing that is wrong with the vault.
type Fault struct {
	Where string `json:"where"`
	What  string `json:"what"`
	Harms []Harm `json:"harms"` // empty: no point is harmed
}

// Harm is a range of a disk of a point that cannot be read.
type Harm struct {
	Machine string `json:"machine"`
	Point   string `json:"point"`
	Disk    string `json:"disk"`
	Offset  int64  `json:"offset"`
	Length  int64  `json:"length"`
}
