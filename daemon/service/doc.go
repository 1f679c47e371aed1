// Package service holds every operation of Holdfast once: what is asked of vaults and
// machines, by a schedule, by a client of the daemon, or by a command that works without one.
//
// A [Service] answers api.Operations over [Vaults]: those that a daemon holds, or [OneVault], which a
// command opens. [Discover] finds the VMs of this host, and [Examine] says what a backup of one would
// cost; they change nothing.
//
// Besides, it holds the conversions from what the vault knows to the wire types of daemon/api,
// which the command line, the mount and the daemon's interface all show. They are pure
// functions; their results share nothing with what they were made from.
package service
