package api

// Trashed is a point in the trash: its deleted is never missing.
type Trashed struct {
	Point
	DropsOn   Time   `json:"drops_on"`            // from when on a sweep drops it
	Exclusive *int64 `json:"exclusive,omitempty"` // bytes that dropping it and those before it in the list frees; with --exclusive
}

// Sweep is what a sweep did or, when dry, would do. Sizes are bytes.
type Sweep struct {
	Job       string  `json:"job,omitempty"` // id of the daemon's job that did it; "": the command did
	Dry       bool    `json:"dry"`
	Dropped   []Point `json:"dropped"`
	PutBack   int     `json:"put_back"`
	Packs     int     `json:"packs"`
	Removed   int     `json:"removed"`
	Rewritten int     `json:"rewritten"`
	Freed     int64   `json:"freed"`
	Copied    int64   `json:"copied"`

	Live       int64 `json:"live"`
	Trash      int64 `json:"trash"`
	TrashUntil *Time `json:"trash_until,omitempty"`
	Dead       int64 `json:"dead"`
	Pinned     int64 `json:"pinned"`
	Young      int64 `json:"young"`
	YoungUntil *Time `json:"young_until,omitempty"`
	NoRoom     int64 `json:"no_room"`
	Damaged    int64 `json:"damaged"`
}

// Exclusive is what dropping points frees.
type Exclusive struct {
	Points []ExclusivePoint `json:"points"` // in the order asked for
	Bytes  int64            `json:"bytes"`  // of all of them together
}

// ExclusivePoint is what dropping one point frees, those before it in the list
// being dropped already.
type ExclusivePoint struct {
	Machine string `json:"machine"`
	ID      string `json:"id"`
	Bytes   int64  `json:"bytes"`
}

// FreePlan is what to give up for some space.
type FreePlan struct {
	Wanted int64            `json:"wanted"`
	Trash  int64            `json:"trash"`  // bytes that emptying the trash frees
	Points []ExclusivePoint `json:"points"` // to give up then, oldest first
	Bytes  int64            `json:"bytes"`  // all together
	Enough bool             `json:"enough"`
}
