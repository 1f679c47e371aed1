package api

import "time"

// FileHistory is what became of one path of a guest over the points of its machine.
type FileHistory struct {
	Machine  string        `json:"machine"`
	Volume   string        `json:"volume,omitempty"` // in which the path is meant; missing: the guest's root
	Path     string        `json:"path"`
	Points   int           `json:"points"`   // that were looked at
	Versions []FileVersion `json:"versions"` // oldest first
	Warnings []string      `json:"warnings"` // points of the vault that cannot be read, if any
	Cost     ReadCost      `json:"cost"`
}

// FileVersion is what a path was at some points that follow one another.
type FileVersion struct {
	// State is the type of what is there (file, folder, link, block, char, pipe, socket,
	// unknown), "absent" where nothing is, "unreadable" where nobody can tell.
	State string `json:"state"`

	// Changes are what differs from the version before: created, removed, type, content,
	// target, mode, owner, modified, attributes, names, device. None of the first.
	Changes []string `json:"changes"`

	First  VersionPoint `json:"first"`
	Last   VersionPoint `json:"last"`
	Points int          `json:"points"`

	Size     int64      `json:"size,omitempty"`
	Modified *time.Time `json:"modified,omitempty"` // with the guest's fractions of a second
	Mode     string     `json:"mode,omitempty"`     // four octal digits
	UID      uint32     `json:"uid,omitempty"`
	GID      uint32     `json:"gid,omitempty"`
	Inode    uint64     `json:"inode,omitempty"`
	Volume   string     `json:"volume,omitempty"`  // that it lies on
	SHA256   string     `json:"sha256,omitempty"`  // of a file's content
	Target   string     `json:"target,omitempty"`  // of a link
	Entries  int        `json:"entries,omitempty"` // of a folder

	Real    string `json:"real,omitempty"`       // its path without links, where that is another
	Renamed string `json:"renamed_to,omitempty"` // of an absent file: what it is called now, in the same folder
	Error   string `json:"error,omitempty"`      // why it, or its content, cannot be read; why it is absent, where that is not plain
	Damaged bool   `json:"damaged,omitempty"`
}

// VersionPoint is a point at which a version was seen.
type VersionPoint struct {
	ID   string `json:"id"`
	Time Time   `json:"time"`
}

// ReadCost is what an answer took, beside what was there to read.
type ReadCost struct {
	Blocks     int64   `json:"blocks_read"`    // of disks, that were read from the vault
	Pages      int64   `json:"pages_read"`     // of maps
	DiskBlocks int64   `json:"blocks_of_disk"` // of all disks of all points that were looked at
	BlockSize  int64   `json:"block_size"`     // bytes
	Opened     int     `json:"points_opened"`  // whose file systems were looked into; of the others the maps proved all
	Seconds    float64 `json:"seconds"`
}
