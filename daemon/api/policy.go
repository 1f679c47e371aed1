package api

// Policy is when machines are backed up, and what is kept of them.
type Policy struct {
	Name        string   `json:"name"`
	ID          string   `json:"id"`
	Generation  uint64   `json:"generation"`
	Changed     Time     `json:"changed"`
	Globs       []string `json:"globs"`
	Machines    []string `json:"machines"` // of the vault that it is for
	Schedule    string   `json:"schedule,omitempty"`
	Timezone    string   `json:"timezone"`
	Window      string   `json:"window,omitempty"`
	Jitter      int64    `json:"jitter_seconds"`
	MaxDuration int64    `json:"max_duration_seconds"` // 0: without end
	Consistency string   `json:"consistency,omitempty"`
	Otherwise   string   `json:"otherwise"` // fail or fall-back
	Keep        Keep     `json:"keep"`
	TrashDays   int      `json:"trash_days,omitempty"`
	RPO         int64    `json:"rpo_seconds"`        // 0: none
	NextRun     *Time    `json:"next_run,omitempty"` // on this host

	Tag       string  `json:"libvirt_tag,omitempty"` // of libvirt domains that it is for
	Retries   int     `json:"retries"`
	Priority  int     `json:"priority"`
	ReadRate  int64   `json:"read_rate,omitempty"` // bytes a second; 0: no limit
	WriteRate int64   `json:"write_rate,omitempty"`
	Verify    float64 `json:"verify_percent"` // of the vault, a day
}

// Keep is how many points are kept; all zero: everything.
type Keep struct {
	Last    int `json:"last"`
	Hourly  int `json:"hourly"`
	Daily   int `json:"daily"`
	Weekly  int `json:"weekly"`
	Monthly int `json:"monthly"`
	Yearly  int `json:"yearly"`
}

// PolicyChange is what became of a policy.
type PolicyChange struct {
	Name   string   `json:"name"`
	Change string   `json:"change"` // added, changed, removed or same
	Diff   []string `json:"diff"`   // lines, of what was changed
	Dry    bool     `json:"dry"`
}

// PolicyPreview is what a policy leads to.
type PolicyPreview struct {
	Days     int            `json:"days"`
	Runs     int            `json:"runs"`
	NextRuns []Time         `json:"next_runs"`
	Longest  int64          `json:"longest_gap_seconds"` // between two runs
	Pruned   int            `json:"pruned"`
	Most     int            `json:"most"` // points after a day
	Kept     []PreviewPoint `json:"kept"` // at the end, oldest first
}

// PreviewPoint is a point of a preview.
type PreviewPoint struct {
	Time Time     `json:"time"`
	Why  []string `json:"why"`
}

// Prune is what became of the points of one machine.
type Prune struct {
	Machine   string        `json:"machine"`
	MachineID string        `json:"machine_id"`
	Policy    string        `json:"policy,omitempty"`
	Rules     string        `json:"rules,omitempty"`
	Dry       bool          `json:"dry"`
	Passed    string        `json:"passed_over,omitempty"` // why nothing was pruned
	Waits     bool          `json:"waits_for_confirmation"`
	Doubtful  bool          `json:"doubtful"` // somebody should look why it is passed over
	Kept      int           `json:"kept"`
	Pruned    int           `json:"pruned"` // or would be
	Points    []PrunedPoint `json:"points"` // oldest first
}

// PrunedPoint is what became of one point.
type PrunedPoint struct {
	ID   string   `json:"id"`
	Time Time     `json:"time"`
	Keep bool     `json:"keep"`
	Why  []string `json:"why"`
	Flaw string   `json:"flaw,omitempty"` // why it is not good
}
