package api

// Grant gives somebody a role for machines.
type Grant struct {
	Who      string   `json:"who"`      // a user's name, group:NAME or token:NAME
	Role     string   `json:"role"`     // viewer, restorer, operator or admin
	Machines []string `json:"machines"` // globs; ["*"] is all of them, and what belongs to no machine
	Since    *Time    `json:"since,omitempty"`
	By       string   `json:"by,omitempty"`
	Fixed    bool     `json:"fixed,omitempty"` // comes from the configuration or from being root, and cannot be revoked
}

// GrantRequest asks for a grant, or for the end of one.
type GrantRequest struct {
	Who      string   `json:"who"`
	Role     string   `json:"role,omitempty"`     // of a revocation, empty: each
	Machines []string `json:"machines,omitempty"` // globs; none: all machines, of a revocation: whatever they are
}

// Token is a way into the daemon over the network. Its secret is shown once.
type Token struct {
	Name     string  `json:"name"`
	Created  Time    `json:"created"`
	By       string  `json:"by"`
	Expires  *Time   `json:"expires,omitempty"` // missing: never
	Expired  bool    `json:"expired"`
	LastUsed *Time   `json:"last_used,omitempty"` // to the minute
	LastFrom string  `json:"last_from,omitempty"` // address
	Grants   []Grant `json:"grants"`
}

// TokenRequest asks for a token.
type TokenRequest struct {
	Name     string   `json:"name"`
	Role     string   `json:"role"`
	Machines []string `json:"machines,omitempty"` // globs; none: all
	Expires  *Time    `json:"expires,omitempty"`  // missing: never
}

// NewToken is a token with its secret, which is shown this once.
type NewToken struct {
	Token
	Secret string `json:"secret"`
}

// WhoAmI is whom the daemon takes the caller for.
type WhoAmI struct {
	Name    string   `json:"name"`
	Groups  []string `json:"groups"`
	From    string   `json:"from"`    // how it reached the daemon
	Trusted bool     `json:"trusted"` // has the daemon's own rights on its host, and may name paths there
	Grants  []Grant  `json:"grants"`  // all that it has, however it came by them
}

// Outcomes of what the audit log tells of.
const (
	AuditDone    = "done"
	AuditRefused = "refused"
	AuditFailed  = "failed"
)

// AuditEntry is one line of the audit log: somebody changed something, read
// content of a guest, or was refused.
type AuditEntry struct {
	Time    Time   `json:"time"`
	Who     string `json:"who"`
	From    string `json:"from"`   // address, or process that is the peer
	Action  string `json:"action"` // id of the operation in the OpenAPI document
	Vault   string `json:"vault,omitempty"`
	Machine string `json:"machine,omitempty"`
	Object  string `json:"object,omitempty"` // point, disk, job, policy, token: what it was about
	Outcome string `json:"outcome"`          // done, refused or failed
	Detail  string `json:"detail,omitempty"` // why
	Said    string `json:"said,omitempty"`   // what it was for, as the client said it: nobody checked that
}

// AuditQuery chooses entries of the audit log; the zero value: the newest.
type AuditQuery struct {
	Since *Time `json:"since,omitempty"`
	Limit int   `json:"limit,omitempty"` // 0: 1000; at most 10000
}
