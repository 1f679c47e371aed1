package api

import (
	"context"
	"time"
)

// CatalogueOptions say which points get a list of their files' names.
type CatalogueOptions struct {
	Points []string `json:"points,omitempty"` // of the request's machine, by id or time; none: all that have none
	Days   int      `json:"days,omitempty"`   // only points of so many last days; 0: all
	Again  bool     `json:"again,omitempty"`  // also those that have one: it is made anew
	Drop   bool     `json:"drop,omitempty"`   // none is made, and those that are there are removed
}

// CatalogueRun is what a job of kind catalogue did.
type CatalogueRun struct {
	Built   []CatalogueBuilt `json:"built"`
	Failed  []PointProblem   `json:"failed"` // points that have none now
	Dropped int              `json:"dropped"`
	Freed   int64            `json:"freed"` // bytes
	Size    int64            `json:"size"`  // bytes of those that were built
	Seconds float64          `json:"seconds"`
}

// CatalogueBuilt is a catalogue that was made.
type CatalogueBuilt struct {
	PointRef
	Names  int64 `json:"names"`   // that the point has
	New    int64 `json:"entries"` // that were written: names, or what changed since an older point
	Whole  bool  `json:"whole"`   // it builds on no other
	Walked bool  `json:"walked"`  // the guest's files were read; not: the disks are those of the older point
	Size   int64 `json:"size"`    // bytes in the vault
	Unread int   `json:"unread"`  // paths that could not be read; [Finder.Catalogues] names them
}

// PointProblem is a point for which something was not done.
type PointProblem struct {
	PointRef
	Error string `json:"error"`
}

// Catalogue says whether a point has a list of its files' names.
type Catalogue struct {
	PointRef
	Time   Time           `json:"time"` // of the point
	There  bool           `json:"there"`
	Names  int64          `json:"names,omitempty"`
	New    int64          `json:"entries,omitempty"`
	Whole  bool           `json:"whole,omitempty"`
	Chain  int            `json:"chain,omitempty"` // how many catalogues it takes to read it
	Size   int64          `json:"size,omitempty"`  // bytes in the vault, of its own
	Made   *Time          `json:"made,omitempty"`
	Unread []GuestProblem `json:"unread,omitempty"`
	Error  string         `json:"error,omitempty"` // why the one that is there cannot be used
}

// SearchQuery says which files of one machine are looked for, over all its points. Fields that are zero
// fit everything, Most apart.
type SearchQuery struct {
	Vault   string `json:"vault"`
	Machine string `json:"machine"`
	Volume  string `json:"volume,omitempty"` // "": the guest's root; ignored with All
	Path    string `json:"path,omitempty"`   // only this and what is below
	All     bool   `json:"all,omitempty"`    // the root, and every volume that it does not reach

	Name    string     `json:"name,omitempty"`    // a pattern of names: *, ? and [...]
	Pattern string     `json:"pattern,omitempty"` // one of whole paths, in which * matches slashes, too
	Type    string     `json:"type,omitempty"`    // f, d, l, b, c, p or s
	Newer   *time.Time `json:"newer,omitempty"`   // changed after
	Older   *time.Time `json:"older,omitempty"`   // last changed before
	Least   int64      `json:"least,omitempty"`   // bytes
	Most    int64      `json:"most"`              // bytes; -1: no limit

	Deleted bool  `json:"deleted,omitempty"` // only what the newest of the points does not have
	Since   *Time `json:"since,omitempty"`   // only points of this time and later
	Until   *Time `json:"until,omitempty"`   // only points of this time and earlier

	After string `json:"after,omitempty"` // Next of the page before; empty: the first
	Limit int    `json:"limit,omitempty"` // hits on a page; 0: 1000
}

// SearchPage is a part of what a search found, in the order of paths.
type SearchPage struct {
	Hits []SearchHit `json:"hits"`
	Next string      `json:"next,omitempty"` // what to ask the next page with; missing: this is the last
	Searched
}

// Searched says what a search looked at.
type Searched struct {
	Points   int            `json:"points"`          // looked at
	First    *SearchPoint   `json:"first,omitempty"` // the oldest of them
	Last     *SearchPoint   `json:"last,omitempty"`  // and the newest
	Missing  []SearchPoint  `json:"missing"`         // points that have no catalogue: nothing is said of them
	Problems []string       `json:"problems"`        // catalogues that cannot be used
	Unread   []GuestProblem `json:"unread"`          // what could not be read at the newest: it is told as it was before
	Entries  int64          `json:"entries"`         // that were read
	Seconds  float64        `json:"seconds"`
}

// SearchPoint is a point of the machine.
type SearchPoint struct {
	ID   string `json:"id"`
	Time Time   `json:"time"`
}

// SearchHit is a path that was found.
type SearchHit struct {
	Path        string          `json:"path"`
	PathEscaped string          `json:"path_escaped,omitempty"` // percent-encoded byte by byte, where the path is no UTF-8
	Name        string          `json:"name"`
	Volume      string          `json:"volume,omitempty"` // that the path lies in; missing: the guest's root
	Deleted     bool            `json:"deleted"`          // the newest point does not have it
	Versions    []SearchVersion `json:"versions"`         // that fit, the oldest first
}

// SearchVersion is a file as it was from one point to another.
type SearchVersion struct {
	Type        string      `json:"type"` // as in GuestFile
	Mode        string      `json:"mode"`
	Permissions string      `json:"permissions"`
	UID         uint32      `json:"uid"`
	GID         uint32      `json:"gid"`
	Size        int64       `json:"size"`
	Modified    *time.Time  `json:"modified,omitempty"`
	Inode       uint64      `json:"inode"`
	First       SearchPoint `json:"first"` // the oldest point that has it so
	Last        SearchPoint `json:"last"`  // and the newest, before it changed or went
	Points      int         `json:"points"`
}

// Finder answers searches over all points of a machine.
type Finder interface {
	// Search returns a page of what was found. Nothing is built for it.
	Search(ctx context.Context, q SearchQuery) (SearchPage, error)
	// Catalogues says of each point of a machine whether it has a catalogue, the oldest first.
	Catalogues(ctx context.Context, vault, machine string) ([]Catalogue, error)
}
