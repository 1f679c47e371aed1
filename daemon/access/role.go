package access

import (
	"fmt"
	"slices"
	"strings"
)

// Role is a set of permissions.
type Role string

// The roles, each with what those above it in this list may.
const (
	Viewer   Role = "viewer"   // what there is and how it stands; no names of files, no contents
	Restorer Role = "restorer" // names of files, contents, restores
	Operator Role = "operator" // backups, checks, mounts, holds, notes
	Admin    Role = "admin"    // everything
)

// Permission is one thing that a role allows.
type Permission string

// The permissions.
const (
	See      Permission = "see"      // machines, points, jobs, status
	Names    Permission = "names"    // names of files: of images, sockets, configurations; on all machines, also where vaults lie, and processes
	Read     Permission = "read"     // contents of points
	Restore  Permission = "restore"  // restores by the daemon
	Backup   Permission = "backup"   // backups, holds and notes
	Verify   Permission = "verify"   // checks
	Mount    Permission = "mount"    // mounts by the daemon
	Protect  Permission = "protect"  // how machines are backed up
	Policies Permission = "policies" // when, and what is kept
	Delete   Permission = "delete"   // into the trash, out of it, prune, sweep
	Lock     Permission = "lock"     // locks of points
	Tokens   Permission = "tokens"   // tokens and grants
	Audit    Permission = "audit"    // reading the audit log
	Lend     Permission = "lend"     // having a vault alone
)

type step struct {
	role Role
	verb string
	adds []Permission
}

// roles lists the roles from the least to the most, with the word that a grant may use for
// each and what it adds to those before it.
var roles = []step{
	{Viewer, "view", []Permission{See}},
	{Restorer, "restore", []Permission{Names, Read, Restore}},
	{Operator, "operate", []Permission{Backup, Verify, Mount}},
	{Admin, "admin", []Permission{Protect, Policies, Delete, Lock, Tokens, Audit, Lend}},
}

// parseRole understands a role by its name, or by what it does: restore is restorer.
func parseRole(s string) (Role, error) {
	var names []string
	for _, r := range roles {
		if s == string(r.role) || s == r.verb {
			return r.role, nil
		}
		names = append(names, string(r.role))
	}
	return "", fmt.Errorf("%.40q is no role: %s", s, strings.Join(names, ", "))
}

// Allows tells whether the role has a permission. An unknown role has none.
func (r Role) Allows(p Permission) bool {
	for _, s := range roles {
		if slices.Contains(s.adds, p) {
			return r.atLeast(s.role)
		}
	}
	return false
}

// atLeast tells whether r is other, or a role above it.
func (r Role) atLeast(other Role) bool {
	rank := func(role Role) int { return slices.IndexFunc(roles, func(s step) bool { return s.role == role }) }
	return rank(other) >= 0 && rank(r) >= rank(other)
}

// least is the smallest role that allows p, as the verb that grants it.
func least(p Permission) string {
	for _, s := range roles {
		if slices.Contains(s.adds, p) {
			return s.verb
		}
	}
	return "admin"
}

// Permissions lists what a role may, the least first.
func (r Role) Permissions() []Permission {
	var all []Permission
	for _, s := range roles {
		if r.atLeast(s.role) {
			all = append(all, s.adds...)
		}
	}
	return all
}
