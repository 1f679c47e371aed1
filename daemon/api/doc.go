// Package api holds the wire types of Holdfast: what commands print with
// --json, what point.json in the mount holds and what the daemon's interface
// speaks.
//
// The forms are stable: fields are added, never renamed or given another
// meaning. Names of fields are lower case with underscores, sizes are bytes,
// times are RFC 3339 in UTC to the second, ids and names are strings, lists are
// never null. The package imports nothing of Holdfast, so that a client of it
// is small.
package api
