package api

// DiskRanges are ranges of a disk that hold data, from some offset on.
type DiskRanges struct {
	Size      int64   `json:"size"`       // of the disk
	BlockSize int     `json:"block_size"` // of the vault: what is damaged is told apart by it
	Ranges    []Range `json:"ranges"`     // ascending; what lies between them is zeros
	// Until is how far the answer goes: who wants more asks again from there on. It is the disk's
	// size where there is no more.
	Until int64 `json:"until"`
}

// DiskDifference is one line of the comparison of a disk between two points: a range that
// differs, or the end, or why there is no end.
type DiskDifference struct {
	*Range
	End     bool     `json:"end,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}
