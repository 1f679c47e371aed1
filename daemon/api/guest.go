package api

import "time"

// GuestVolumes is what lies on the disks of a point: volumes.json in the mount, and
// what `holdfast volumes --json` prints.
type GuestVolumes struct {
	Point   string        `json:"point,omitempty"` // its id, in answers of the daemon
	Volumes []GuestVolume `json:"volumes"`
	Notes   []string      `json:"notes"` // on tables and volume groups

	Root *GuestRoot `json:"root,omitempty"` // missing where none can be read
}

// GuestRoot is what the guest itself sees: files/root.
type GuestRoot struct {
	Volume string       `json:"volume"`          // that holds it
	Drive  string       `json:"drive,omitempty"` // its letter, of Windows: "C:"
	Mounts []GuestMount `json:"mounts"`
	Notes  []string     `json:"notes"`
}

// GuestMount is a volume that the guest mounts, by its fstab or registry.
type GuestMount struct {
	At     string `json:"at"`               // a path, or a drive: "D:"
	Device string `json:"device"`           // by the guest's name for it
	Volume string `json:"volume,omitempty"` // missing where the point does not hold it
	Error  string `json:"error,omitempty"`  // why not; files/root has the folder that lies below
}

// GuestVolume is a partition, a disk without partitions, an array, what an encrypted volume
// holds, or a logical volume. What its
// file system says of itself is missing where it cannot be read.
type GuestVolume struct {
	Name      string          `json:"name"` // vda1, vg0-root: a folder of files/
	Type      string          `json:"type"` // as blkid calls it: ext4, xfs, LVM2_member; "" unknown
	Label     string          `json:"label,omitempty"`
	UUID      string          `json:"uuid,omitempty"` // as blkid prints it
	Size      int64           `json:"size"`
	Used      *int64          `json:"used,omitempty"`    // missing where it is not known
	Journal   string          `json:"journal,omitempty"` // none, clean, replayed, not replayed
	MountedAt []string        `json:"mounted_at"`        // in the guest, by its fstab
	Disk      string          `json:"disk,omitempty"`    // that it lies on
	Partition *GuestPartition `json:"partition,omitempty"`
	Group     string          `json:"group,omitempty"`   // of a logical volume
	Logical   string          `json:"logical,omitempty"` // its name there
	On        []string        `json:"on,omitempty"`      // names of the volumes that it lies on; none of disks and partitions
	Readable  bool            `json:"readable"`          // its files can be read
	Locked    bool            `json:"locked,omitempty"`  // it is encrypted, and a passphrase or key file may open it
	Error     string          `json:"error,omitempty"`   // why not
	Advice    string          `json:"advice,omitempty"`  // what to do instead
	Notes     []string        `json:"notes"`
}

// GuestPartition is an entry of a partition table.
type GuestPartition struct {
	Scheme string `json:"scheme"` // gpt, mbr
	Number int    `json:"number"`
	Offset int64  `json:"offset"`
	Type   string `json:"type"` // a UUID, or two hexadecimal digits
	UUID   string `json:"uuid"`
	Label  string `json:"label,omitempty"`
}

// GuestFile is a file of a guest. Fields that cannot be told are zero, beside an error.
type GuestFile struct {
	Name        string     `json:"name"`
	Path        string     `json:"path"`
	PathEscaped string     `json:"path_escaped,omitempty"` // percent-encoded, where path is no UTF-8 and so not what the guest has
	Volume      string     `json:"volume"`                 // that it lies on
	Inode       uint64     `json:"inode"`
	Type        string     `json:"type"`        // file, folder, link, block, char, pipe, socket, unknown
	Mode        string     `json:"mode"`        // four octal digits
	Permissions string     `json:"permissions"` // as ls writes them
	Links       uint32     `json:"links"`
	UID         uint32     `json:"uid"`
	GID         uint32     `json:"gid"`
	Size        int64      `json:"size"`
	Modified    *time.Time `json:"modified,omitempty"` // with the guest's fractions of a second
	Target      string     `json:"target,omitempty"`   // of a link
	Major       uint32     `json:"major,omitempty"`
	Minor       uint32     `json:"minor,omitempty"`
	Error       string     `json:"error,omitempty"`
	Damaged     bool       `json:"damaged,omitempty"`

	Point   string        `json:"point,omitempty"`   // its id, in answers of the daemon about one file
	Streams []GuestStream `json:"streams,omitempty"` // of NTFS, beside the content; where one file is described
}

// GuestCopy is what a copy out of a guest took.
type GuestCopy struct {
	Files    int64          `json:"files"`
	Folders  int64          `json:"folders"`
	Links    int64          `json:"links"`
	Bytes    int64          `json:"bytes"`    // of content, holes not counted
	Failed   int64          `json:"failed"`   // paths that were not taken, or not as they were
	Problems []GuestProblem `json:"problems"` // the first thousand of them
	Notes    []string       `json:"notes"`    // what was left out by rule
	Seconds  float64        `json:"seconds"`
}

// GuestProblem is a path that was not taken.
type GuestProblem struct {
	Path   string `json:"path"`
	Error  string `json:"error"`
	Remote bool   `json:"remote,omitempty"` // it lies on another machine, and in no point
}
