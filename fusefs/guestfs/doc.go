// Package guestfs reads what is inside the disks of a recovery point: partition
// tables, volumes and file systems, in memory-safe user space, without root and
// without the host's kernel, which is not to be handed what a guest wrote.
//
// Each file system is a folder below this one and a line in its list of
// formats; what all of them give is fusefs/guestfs/tree.
//
// Volumes lie in one another: partitions, arrays of md, what LUKS and BitLocker encrypt, and logical
// volumes, each a package below, joined in layers until nothing more is found. What is
// encrypted is opened by [Keys], which stay in memory.
//
// [Open] gives a [Guest], whose volumes are found when they are asked for and opened
// when their files are. A [View] is a tree of names: one volume, or the guest's root
// put together from its fstab ([Guest.Root]), so that a path means what it meant to
// the guest. What the point does not hold, or what cannot be read here, is a
// [NotInPointError] or an [UnreadableError], never a file that does not exist.
//
// Everything read is hostile by assumption: each offset, count, depth and
// length is bounded, loops end in an error, and damage is an error on the path
// that it harms. One volume takes no more memory than [Options] say, and
// [Volume.Drop] gives it back.
package guestfs
