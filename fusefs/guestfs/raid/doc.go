// Package raid is the arithmetic of the levels of RAID as Linux lays them out: where a
// byte of an array lies on its members, and how it is computed from the others where
// members are missing. It reads no superblock; mdraid and lvm do, and say what they found
// in a [Config].
//
// [New] gives a [Set], an io.ReaderAt. Levels 0 (with members of several sizes), 1, 4,
// 5, 6, 10 and linear; layouts by the numbers that md gives them. A member that cannot
// be read at some place is computed there from the others, as a missing one is.
//
// Source: the documentation of md in the Linux kernel, md(4), and H. Peter Anvin, "The
// mathematics of RAID-6".
package raid
