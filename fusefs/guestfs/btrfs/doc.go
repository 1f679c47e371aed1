// Package btrfs reads btrfs in memory-safe user space: every profile, compression
// and checksum that Linux writes, subvolumes and snapshots, over one volume or
// several, with the log tree that a running guest leaves behind.
//
// [Format] opens one volume, or the volumes of one file system together, and returns
// a tree.FileSystem whose root is the top level: every subvolume is a folder at its
// place. It is a tree.Subvolumer as well, which tells the default subvolume and
// where each lies. A nested subvolume is an empty folder in snapshots of the one
// around it, as Linux shows it.
//
// What is read is checked. Of metadata: checksum, address, file system, generation,
// level, the order of keys and that they lie within what the parent says, which also
// bounds every walk by the number of blocks that the volume really has. Of data: the
// checksum of each sector that has one. What fails is read from the next copy; where
// none is good, it is a tree.CorruptError of the call that met it. Memory stays
// within tree.Options.Memory.
//
// The log tree holds what the guest synced since its last commit. It is replayed
// into items in memory (overlay) that lie over those of a subvolume; one that is
// damaged or too large is left out as a whole, and Info says so.
//
// Inode numbers are those of the guest in the top level. Those of another subvolume
// have its id above bit 40; ids of 24 bits and more, and numbers of 40 and more, are
// refused by name.
//
// Parts: superblock and volumes (super.go, device.go, open.go), the mapping of
// logical addresses (chunk.go, stripe.go), trees (key.go, node.go, search.go,
// overlay.go, table.go), subvolumes, inodes and names (root.go, inode.go, dir.go,
// xattr.go), content (extent.go, file.go, data.go, compress.go, lzo.go), the log
// (log*.go). Offsets are those of "On-disk Format" and "Btrees" (btrfs.readthedocs.io)
// and of the structures that Linux publishes for programs (linux/btrfs_tree.h). All
// integers are little endian.
//
// Left out, and said so where it is met: missing devices of a profile with parity,
// extent-tree-v2, raid-stripe-tree, encrypted files.
package btrfs
