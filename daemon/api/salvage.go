package api

// Salvage is what was saved of a broken vault.
type Salvage struct {
	Vault   Vault         `json:"vault"`  // the new one
	Points  int           `json:"points"` // saved whole
	Packs   int           `json:"packs"`  // searched
	Records int64         `json:"records"`
	Bytes   int64         `json:"bytes"`
	Bad     int64         `json:"bad"`    // records that could not be used
	Harmed  []HarmedPoint `json:"harmed"` // points that are not whole
	Lost    []LostFile    `json:"lost"`   // files that could not be used
}

// HarmedPoint is a point of which something is lost.
type HarmedPoint struct {
	Machine string `json:"machine"`
	Point   string `json:"point"`
	Time    Time   `json:"time"`
	Kept    bool   `json:"kept"`
	Lost    []Harm `json:"lost"`
}

// LostFile is a file of a broken vault that could not be used.
type LostFile struct {
	Where string `json:"where"`
	What  string `json:"what"`
}
