// Package mdraid reads the software RAID of Linux (md) from the disks and partitions
// that are its members. It knows nothing of what lies in an array.
//
// [ReadSuper] reads the superblock of a member, of the formats 0.90, 1.0, 1.1 and 1.2;
// [Assemble] joins members to arrays, leaves out those whose count of events says that
// they fell behind, and gives each [Array] as an io.ReaderAt, computing what is missing
// as far as its level can (package raid). An array that cannot be read says why in Err:
// members are missing ([raid.ErrTooFew]), it is being reshaped, or it is of a kind that
// is not read.
//
// Everything read is bounded: members, chunks, sizes. Superblocks count only with the
// right checksum.
//
// Sources: md(4), mdadm(8), and the description of the superblocks in the documentation
// of the Linux RAID wiki ("RAID superblock formats").
package mdraid
