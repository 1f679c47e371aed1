// Package power takes the power away: it serves a disk that remembers what was
// written to it and when it was told to flush, and makes of that record the
// disks that a power loss could have left.
//
// The disk is one file in a FUSE mount, so that a loop device makes any file
// system's block device of it, and a flush of that file system arrives as a
// sync of the file. [Serve] runs in a process of its own: a process that uses
// the file system and serves its disk could wait for itself.
//
// [Log.Cut] promises what a disk with a write cache promises, and no more:
// whatever was written before the last flush is there; of what came after it,
// any part may be, in units of 4 KiB, and none in any order.
//
// The tests mount in a namespace of their own, since a copy of a mount in
// another one keeps its file system alive, and writing, after it was
// unmounted. They also put a vault on a file server that stops to answer.
package power
