// Package blockstore is the vault: where the blocks of disks are kept, and the
// recovery points that name them.
//
// A [Vault] is open for reading, which needs neither lock nor index: any process on
// any host may read while another writes. Its [Point]s list the disks of one
// machine at one moment, and a [Disk] reads one of them, verified byte for
// byte. An [Owner] is the one process that may write; it makes points through
// [Backup], which reads a [Source], stores what is new and commits. [Diff]
// compares two disks by their maps, and [Vault.Check] walks every invariant.
//
// # Promises
//
// A point exists once its record does, which is written last: content, then
// the segment that tells where it lies, then the record, each durable before
// the next. A kill at any instant leaves the old state or the new one, and
// packs that the next owner finds and uses. No byte is returned whose hash was
// not compared. Memory depends on neither the size of a disk nor the number of
// points.
//
// # Whose a vault is
//
// OWNER names the host, the process and the place that wrote into the vault
// last. Another host, and a copy whose original can still be seen, are refused
// until [TakeOver]; an owner that was replaced finds out before it commits or
// removes anything. [Vault.HoldSweep] keeps all files where they are while
// somebody copies them. A file system that does not answer ends the methods of
// an Owner with a [HangError], and leaves a goroutine behind for each.
//
// # Parts
//
// Content is named by package content and lies in packs (package pack). A disk
// is a tree of pages (package diskmap). Where an ID lies is told to readers by segments (package
// segment) and to the writer by the index (package index), which is rebuilt
// from the packs whenever it is lost. Files are written by package backend.
// FORMAT.md gives every byte.
//
// # Locks
//
// Owner.attributing comes before Owner.committing, that before the turn of
// Owner.removing, that before store.mu, and that before Backup.mu;
// Vault.refreshing is taken last, and Owner.mu and the locks of caches are
// never held while another is taken. Owner.machining comes before the turn, and
// no other is held when it is taken, and so is Owner.cataloguing. No lock is held while content is read.
package blockstore
