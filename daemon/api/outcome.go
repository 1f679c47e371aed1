package api

// Backup is the outcome of one backup.
type Backup struct {
	Job      string   `json:"job,omitempty"` // id of the daemon's job that did it; "": the command did
	Point    Point    `json:"point"`
	Skipped  []string `json:"skipped"` // disks taken over unread, since they had not changed
	Warnings []string `json:"warnings"`
	Notes    []string `json:"notes"`
	Outcome  string   `json:"outcome"` // completed, or completed with warnings
	Healed   int      `json:"healed"`  // damaged pieces of the vault that were stored again
	Seconds  float64  `json:"seconds"`
}

// Copy is the outcome of copying points from one vault into another.
type Copy struct {
	Copied    []Point `json:"copied"`
	Present   int     `json:"present"`   // points that were there already
	Forgotten int     `json:"forgotten"` // points that were dropped there before, and are not copied again
	Damaged   []Harm  `json:"damaged"`   // points that cannot be read, and where
	Seconds   float64 `json:"seconds"`
}

// Restore is the outcome of one restore.
type Restore struct {
	Machine  string         `json:"machine"`
	Point    string         `json:"point"`
	Disks    []RestoredDisk `json:"disks"`
	Config   []string       `json:"config"` // files written, as paths
	Warnings []string       `json:"warnings"`
	Notes    []string       `json:"notes"`
	InPlace  bool           `json:"in_place,omitempty"`
	Before   string         `json:"before,omitempty"` // point of what was there before a restore in place

	Made    *RestoredMachine `json:"made,omitempty"` // a whole machine
	Seconds float64          `json:"seconds"`
}

// RestoredMachine is a machine that was made again around its disks.
type RestoredMachine struct {
	Name    string   `json:"name"`
	UUID    string   `json:"uuid,omitempty"`
	File    string   `json:"file,omitempty"` // its definition, or a script that runs it
	Command string   `json:"command,omitempty"`
	Defined bool     `json:"defined"`
	Started bool     `json:"started"`
	Lacking []string `json:"lacking"` // what this host lacks for it
	Notes   []string `json:"notes"`
}

// RestoredDisk is one disk that was restored.
type RestoredDisk struct {
	Name     string  `json:"name"`
	Target   string  `json:"target"`
	Format   string  `json:"format"`
	Size     int64   `json:"size"`
	Written  int64   `json:"written"` // bytes of data, the rest is zeros; in place, bytes that differed
	Verified bool    `json:"verified"`
	Damaged  []Range `json:"damaged"` // ranges that were filled with zeros
}

// Range is a range of a disk, in bytes.
type Range struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// Diff says where the disks of two points differ.
type Diff struct {
	A     string     `json:"a"` // id of a point
	B     string     `json:"b"` // id of a point
	Disks []DiskDiff `json:"disks"`
}

// DiskDiff says where one disk differs. A size of -1 says that the point has
// no such disk; then there are no ranges.
type DiskDiff struct {
	Name   string  `json:"name"`
	SizeA  int64   `json:"size_a"`
	SizeB  int64   `json:"size_b"`
	Bytes  int64   `json:"bytes"` // sum of the ranges, in whole blocks
	Ranges []Range `json:"ranges"`
}

// Version says what the program is.
type Version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source
	Modified bool   `json:"modified,omitempty"` // the source was changed since that revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
}
