// Package guestfs reads what is inside the disks of a recovery point: partition
// tables, volumes and file systems, in memory-safe user space, without root and
// without the host's kernel, which is not to be handed what a guest wrote.
//
// Each file system is a folder below this one and a line in its list of
// formats; what all of them give is fusefs/guestfs/tree.
//
// Everything read is hostile by assumption: each offset, count, depth and
// length is bounded, loops end in an error, and damage is an error on the path
// that it harms.
package guestfs
