package api

// UsageQuery chooses what a report of usage tells of.
type UsageQuery struct {
	From      string `json:"from,omitempty"` // month such as 2026-11; "": this one
	To        string `json:"to,omitempty"`   // "": From
	Machine   string `json:"machine,omitempty"`
	Exclusive bool   `json:"exclusive,omitempty"` // say what each machine alone takes up, which walks maps
}

// Usage is what the machines of a vault used, month by month.
//
// A machine counts in each month in which it had a recovery point, made in it or kept from
// before, protected or not. Its protected size is the largest of the points that were made in the month;
// where none was, that of the newest point before. An instance is each 500 GiB of it begun.
// Points that were dropped since are not known any more.
type Usage struct {
	Vault  Vault        `json:"vault"`
	Time   Time         `json:"time"`
	Months []MonthUsage `json:"months"` // oldest first
}

// MonthUsage is what machines used in a month of UTC.
type MonthUsage struct {
	Month    string         `json:"month"`   // 2026-11
	Partial  bool           `json:"partial"` // it is not over
	Machines []MachineUsage `json:"machines"`
	// Sums over the machines.
	Instances int   `json:"instances"`
	Protected int64 `json:"protected"`
	Stored    int64 `json:"stored"`
}

// MachineUsage is what one machine used in a month. Sizes are bytes.
type MachineUsage struct {
	Machine   string `json:"machine"`
	MachineID string `json:"machine_id"`
	Instances int    `json:"instances"`
	Protected int64  `json:"protected"`           // allocated, non-zero data of the disks that are not left out
	Points    int    `json:"points"`              // made in the month
	Kept      int    `json:"kept"`                // there at its end, or now
	Stored    int64  `json:"stored"`              // added by the points of the month
	Exclusive *int64 `json:"exclusive,omitempty"` // what dropping all its points frees, now; where asked for
}
