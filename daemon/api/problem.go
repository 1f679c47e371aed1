package api

// KindMachineHeld is the kind of a problem: somebody keeps hands off the machine.
const KindMachineHeld = "machine-held"

// Problem is why something failed, for people and for programs. It travels as
// application/problem+json (RFC 9457) with members of our own.
type Problem struct {
	Status int    `json:"status"`          // of HTTP
	Title  string `json:"title,omitempty"` // in two words
	Detail string `json:"detail"`          // the object and the cause, for people
	Hint   string `json:"hint,omitempty"`  // what to do about it
	Exit   int    `json:"exit"`            // exit code of a command that ends with it
	Kind   string `json:"kind,omitempty"`  // stable, for programs: vault-full, agent-missing, ...
	// Damage is what of a disk cannot be read, where that is the problem and is known.
	Damage *Harm `json:"damage,omitempty"`
}

// Error is the problem in words, without the hint.
func (p *Problem) Error() string { return p.Detail }
