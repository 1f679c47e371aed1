// Package access decides who may do what, and keeps the record of who did.
//
// A [Principal] is who asks: a user of this host, told by the kernel for a peer
// of a Unix socket, or the bearer of a token. A [Role] is a set of permissions;
// each role has those of the roles below it: viewer, restorer, operator, admin.
// A grant gives a role to a user, a group or a token, for machines by glob.
// What belongs to no machine (policies, sweeping a vault, tokens) takes a grant
// for all machines.
//
// [Store] keeps grants and tokens in one small file that is replaced whole, so
// that a kill at any instant leaves the old one or the new one. Of a token only
// the hash of its secret is kept. [Log] is the audit log: lines are appended to
// files of bounded size and number, and never written again. [Attempts] slows
// down who guesses.
//
// All of it is safe for concurrent use. Nothing here trusts a name: names are
// compared, and never become paths.
package access
