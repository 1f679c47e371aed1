// Package backup makes one recovery point, start to finish. [Run] opens the
// images of a [Request], reads them into a point of the vault and commits it.
// [RunMachine] does so with a machine that is protected: it reaches the [VM] that the
// machine's record names, has a [Snapshot] of its disks taken while the guest is held
// still, reads what changed, keeps what it takes to make the machine again, and takes
// the snapshot away. A VM that is off is read from its images.
//
// Promises:
//
//   - A point is committed only if every disk was read whole, and all of it is of
//     one moment. A writer that appears on an image ends the backup within a second, and
//     what it appeared on is closed, so that the machine it belongs to is not held up; a
//     snapshot that is lost ends it as well.
//   - A bitmap is believed only if nothing speaks against it: the disk is the same, in the
//     same place, of the same size and made of the same files, and a sample of what it calls
//     clean is what the vault holds. Else the disk is read whole, and the point says why.
//   - Whatever ends a run early, no point appears; what it stored is found by
//     the next run, which does not send it again, and no change is lost to that.
//   - The consistency of the point is what was reached, with the reason; less than was asked
//     for is a warning or a failure.
//   - Another VM than the one that a machine stands for is refused.
//   - When a run returns, every disk is closed, the snapshot is gone or the error says that it is
//     not, and every goroutine has ended.
package backup
