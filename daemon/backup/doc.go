// Package backup makes one recovery point, start to finish: [Run] opens the
// disks of a [Request], reads them into a point of the vault and commits it.
//
// Promises:
//
//   - A point is committed only if every disk was read whole and nobody
//     wrote to any of them between the moment it was opened and the moment the
//     last one was read. A writer that appears ends the backup within a second, and
//     what it appeared on is closed, so that the machine it belongs to is not held up.
//   - Whatever ends a run early, no point appears; what it stored is found by
//     the next run, which does not send it again.
//   - The consistency of the point is what was reached, with the reason.
//   - When Run returns, every disk is closed and every goroutine has ended.
package backup
