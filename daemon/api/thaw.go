package api

// Thaw is what became of guests that were, or may have been, frozen.
type Thaw struct {
	Guests []ThawedGuest `json:"guests"`
}

// ThawedGuest is one of them.
type ThawedGuest struct {
	Machine     string `json:"machine,omitempty"` // missing where the guest was named by hand
	Reach       string `json:"reach"`             // the agent's socket, or libvirt's URI and the domain
	Since       *Time  `json:"since,omitempty"`   // when it was frozen
	Outcome     string `json:"outcome"`           // thawed, gone (does not run any more), going (its process or guard takes care) or failed
	Filesystems int    `json:"filesystems"`       // that were frozen
	Error       string `json:"error,omitempty"`
}
