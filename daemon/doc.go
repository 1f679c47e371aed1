// Package daemon joins the parts of Holdfast: what happens when, for whom, and
// how it is shown.
//
// For now it holds the conversions from what the vault knows to the wire types
// of daemon/api, which the command line, the mount and, later, the daemon's
// interface all show. They are pure functions; their results share nothing
// with what they were made from.
package daemon
