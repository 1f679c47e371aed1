// Package restore puts disks of a recovery point where they are asked for: raw
// and qcow2 files, block devices, NBD exports, a stream, or a folder with all disks and the
// configuration. [Run] does one restore of any number of disks from start to
// finish, [Folder] one of a whole point; a [Job] joins a [Disk] with the [Spec]
// of its target, a [Result] says what was done. [InPlace] takes [Place]s, images of a machine
// that is off, back to a point by writing what differs, and a [Machine] is made again
// around its disks.
//
// Promises:
//
//   - A file appears under its final name only when it is whole and synced. Until
//     then it lies beside it under a hidden name, and goes when the restore fails
//     or is cancelled; only a kill leaves it, as .NAME.holdfast-RANDOM, until the next
//     restore to that name. Of several targets none is renamed before all are whole.
//   - A file that exists is replaced only with [Options].Force, also one that
//     appears meanwhile. A symbolic link at the final name counts as existing;
//     it is replaced itself, never followed. An image that QEMU writes to or a loop
//     device shows is never replaced ([InUseError]). No file is made among the devices of /dev.
//   - A block device is written only when the Spec says [Device] and nothing on
//     this host is seen to use it. What a device held is overwritten in place: a
//     restore that fails half-way leaves it neither old nor new, and says so. The same holds
//     for an NBD export, which must be blank at both ends unless it is forced.
//   - Damaged data stops the restore with its address; with [Options].SkipDamaged
//     it becomes zeros, and every range is in the Result.
//   - In place: a Place is held by QEMU's own locks, so that no machine starts from it. Before the
//     first byte is changed a file gets another name and a note beside it, a device or
//     export a mark in place of its partition table; they come back once all places are whole and
//     synced. A kill at any instant leaves a place untouched, whole, or such that no
//     machine starts from it and the next restore finishes it. What a place holds is
//     believed to be that of a point only if the note says that nothing else was written there.
//   - A machine's definition comes from the vault in any shape: XML with a document type, names that
//     lead elsewhere and archives with anything but plain files are refused. What the host
//     lacks can be asked before anything is written.
//   - Memory is bounded: about 1 MiB per worker (twice that for a stream and while
//     verifying), and for qcow2 one bit per cluster of the regions that hold data.
//
// Every goroutine ends before Run or Folder returns.
package restore
