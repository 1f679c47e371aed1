package access

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// All is the glob of all machines, and of what belongs to none.
const All = "*"

// Principal is who asks. It is made for one request or connection, by [Store.Peer]
// or [Store.Bearer], and does not change.
type Principal struct {
	Name    string   // a user's name, or token:NAME; the form that grants use
	Groups  []string // group:NAME, that it is a member of
	From    string   // address, or process
	PID     int      // of the process of this host; 0: not known
	Trusted bool     // has the daemon's own rights on this host: root, or the daemon's user
	grants  []api.Grant
	fixed   []api.Grant // of grants, those that no grant in the store made
	names   []string    // by which grants in the store mean it
	token   string      // id of the token that it bears; "": none
}

// Again returns the principal as it is by now: what lasts asks so now and then. It is
// ErrLogin when its token was revoked or has expired.
func (s *Store) Again(p *Principal) (*Principal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	if p.token != "" && !slices.ContainsFunc(s.kept.Tokens, func(t token) bool { return t.ID == p.token && !t.expired(now) }) {
		return nil, ErrLogin
	}
	next := *p
	next.grants = slices.Concat(p.fixed, s.kept.grantsOf(p.names...))
	return &next, nil
}

// Grants lists what the principal has, however it came by it.
func (p *Principal) Grants() []api.Grant { return slices.Clone(p.grants) }

// May tells whether the principal has a permission on a machine, by its name.
func (p *Principal) May(what Permission, machine string) bool {
	return p.has(what, func(glob string) bool { return match(glob, machine) })
}

// MayAll tells whether the principal has a permission on all machines, and so on what
// belongs to none.
func (p *Principal) MayAll(what Permission) bool {
	return p.has(what, func(glob string) bool { return glob == All })
}

// MaySome tells whether there may be a machine on which the principal has a permission.
func (p *Principal) MaySome(what Permission) bool {
	return p.has(what, func(string) bool { return true })
}

func (p *Principal) has(what Permission, covers func(glob string) bool) bool {
	for _, g := range p.grants {
		if Role(g.Role).Allows(what) && slices.ContainsFunc(g.Machines, covers) {
			return true
		}
	}
	return false
}

// Refuse returns why the principal may not do something to a machine; "" is all machines.
func (p *Principal) Refuse(what Permission, machine string) *Refusal {
	return &Refusal{Who: p.Name, What: what, Machine: machine}
}

// Refusal says that somebody lacks a permission.
type Refusal struct {
	Who     string
	What    Permission
	Machine string // "": all machines
}

// Error says who lacks what.
func (r *Refusal) Error() string {
	on := "all machines"
	if r.Machine != "" {
		on = r.Machine
	}
	return fmt.Sprintf("%s lacks the permission %q for %s", r.Who, r.What, on)
}

// Command is the command line with which an admin grants what was lacking.
func (r *Refusal) Command() string {
	glob := "'*'"
	if plainName(r.Machine) {
		glob = r.Machine
	}
	return fmt.Sprintf("holdfast grant %s %s --machines %s", r.Who, least(r.What), glob)
}

// match tells whether a glob covers a machine's name: * is any run of characters, ? one,
// [a-c] one of some. A malformed glob covers nothing.
func match(glob, name string) bool {
	if glob == All {
		return true
	}
	ok, err := path.Match(glob, name)
	return ok && err == nil
}

// checkGlobs refuses what could be no glob of names of machines.
func checkGlobs(globs []string) error {
	if len(globs) > maxGlobs {
		return fmt.Errorf("%d globs are too many: at most %d", len(globs), maxGlobs)
	}
	for _, g := range globs {
		odd := strings.ContainsFunc(g, func(r rune) bool { return !nameRune(r) && !strings.ContainsRune("*?[]^", r) })
		if _, err := path.Match(g, ""); err != nil || g == "" || len(g) > 128 || odd {
			return fmt.Errorf("%.40q is no glob of names of machines: write web1, web* or *", g)
		}
	}
	return nil
}

// plainName tells whether s could be a machine's name.
func plainName(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool { return !nameRune(r) })
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+-", r)
}

// ParseWho brings who a grant is for into the form of [Principal]: anna (or user:anna),
// group:ops, token:grafana. The name of a user may be a number.
func ParseWho(s string) (string, error) {
	kind, name, found := strings.Cut(s, ":")
	if !found {
		kind, name = "user", s
	}
	odd := strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r == utf8.RuneError || r >= 0x7f && r < 0xa0 || strings.ContainsRune("'\":/*", r)
	})
	if name == "" || len(name) > 128 || odd || strings.HasPrefix(name, "-") {
		return "", fmt.Errorf("%.40q names nobody: write NAME, group:NAME or token:NAME", s)
	}
	switch kind {
	case "user":
		return name, nil
	case "group", "token":
		return kind + ":" + name, nil
	}
	return "", fmt.Errorf("%.40q names nobody: write NAME, group:NAME or token:NAME", s)
}
