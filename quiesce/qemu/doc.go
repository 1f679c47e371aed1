// Package qemu takes snapshots of the disks of running machines over QEMU's monitor
// and reads them over NBD, while the guest goes on writing.
//
// [Open] makes a [Machine] of a monitor. [Machine.Snapshot] fixes all disks at one
// instant, in one transaction: each disk gets a dirty bitmap that begins there, the
// bitmap of the parent point is stopped, and a job copies to a scratch file what the
// guest is about to overwrite. A [SnapshotDisk] is a source of a backup: what the
// parent's bitmap does not mark is [blockstore.Same]. [Snapshot.Release] takes
// everything away again.
//
// The package promises that
//
//   - whatever of ours is in QEMU has a name that begins with hf-, and [Machine.Clean]
//     removes it after a run that died; nothing of others is ever touched, nor an NBD
//     server that we did not start;
//   - a bitmap that is in any doubt is not believed: the disk is read whole, and
//     [SnapshotDisk.Reason] says why;
//   - after a run that failed the parent's bitmap holds all that changed since the
//     parent;
//   - scratch files are watched: the snapshot ends before they can stop the guest, and a
//     guest that they did stop is resumed ([Snapshot.Watch]);
//   - where QEMU would die of an NBD export (before 9.0, of a disk in an I/O thread),
//     there is none.
//
// A snapshot is to be believed only if [Snapshot.Check] says so after the last byte was
// read. QEMU's answers, and what its NBD server sends, are not trusted.
//
// One run at a time works on a machine: it holds a lock in the scratch folder. Several
// goroutines may use a Machine, and read one Snapshot's disks, at once; Release is
// called once, when they have ended.
package qemu
