package api

import "time"

// FileDiff is a path that two points do not have alike.
type FileDiff struct {
	// Change is added, removed, changed, metadata (nothing but that differs), moved,
	// replaced (by something of another type), or unreadable: nobody can tell.
	Change string `json:"change"`

	Path string `json:"path"`           // in the second point; of what was removed, in the first
	From string `json:"from,omitempty"` // of what was moved, in the first

	// Details are what differs of what both have: content, target, device, mode, owner,
	// modified, attributes.
	Details []string `json:"details"`

	Before *FileFacts `json:"before,omitempty"` // missing: it was not there
	After  *FileFacts `json:"after,omitempty"`

	Text   string `json:"text,omitempty"`   // how the content differs, as `diff -u` has it, where that was asked for
	Binary bool   `json:"binary,omitempty"` // that was asked for, and it is no text, or too long

	Error   string `json:"error,omitempty"`
	Damaged bool   `json:"damaged,omitempty"`
}

// FileFacts are what a point says of a file.
type FileFacts struct {
	Type     string     `json:"type"` // as GuestFile has it
	Size     int64      `json:"size"`
	Mode     string     `json:"mode"` // four octal digits
	UID      uint32     `json:"uid"`
	GID      uint32     `json:"gid"`
	Modified *time.Time `json:"modified,omitempty"`
	Target   string     `json:"target,omitempty"` // of a link
}

// FilesDiff is how the files of two points differ, in all. What differs is told path by
// path before.
type FilesDiff struct {
	A          string `json:"a"` // ids of the points
	B          string `json:"b"`
	Added      int64  `json:"added"`
	Removed    int64  `json:"removed"`
	Changed    int64  `json:"changed"`
	Metadata   int64  `json:"metadata"`
	Moved      int64  `json:"moved"`
	Replaced   int64  `json:"replaced"`
	Unreadable int64  `json:"unreadable"`
	Compared   int64  `json:"compared"` // paths that were looked at
	// Missing is "a" or "b" where the path is in the other point alone, so that all of it is added
	// or removed. A missing field: both have it.
	Missing   string   `json:"missing,omitempty"`
	MovesLost bool     `json:"no_moves"` // there was too much to find out what was moved: it is removed and added
	Cost      ReadCost `json:"cost"`
}
