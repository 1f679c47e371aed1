// Package far is a vault that a daemon reads for this process, whose user may not open it.
//
// [Vault] has what a mount and the readers of guests' files need of a vault (fusefs.Vault): points,
// disks and configurations, as far as the daemon grants them. [Disk] is one disk of a point: ranges of
// it come over the daemon's socket through a cache of a bounded size and, where they are read in order,
// ahead of who reads. What is made of the bytes is made of them here: the daemon looks at no file
// system of a guest.
//
// Promises:
//
//   - Every byte was verified by the daemon, or is an error: a *blockstore.CorruptError where
//     the vault is damaged, one that is fs.ErrPermission where this user lacks a grant, one that is
//     blockstore.ErrNotFound where the point is gone, and else one that says what
//     became of the daemon.
//   - Nothing waits for ever: a daemon that is away is waited for a few seconds, and from then on errors come
//     at once. Holes are not read, as far as the map of a disk is known.
//   - Goroutines that read ahead are gone when [Vault.Close] has returned.
package far
