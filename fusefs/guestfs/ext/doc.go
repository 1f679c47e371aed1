// Package ext reads ext2, ext3 and ext4 without a kernel: [Format] is its entry
// in the list of file systems of fusefs/guestfs.
//
// The format is that of the kernel's documentation ("ext4 Data Structures and
// Algorithms", Documentation/filesystems/ext4, its chapter on the journal
// included). Every feature that the kernel mounts is read: extents and block
// maps, 64bit, flex_bg, meta_bg, bigalloc, inline_data, ea_inode, casefold,
// large_dir, sparse_super2, metadata_csum. A feature that is not known is refused
// by its name or number. What is encrypted (fscrypt) is listed under an escaped
// name, see [tree.FileSystem.ReadDir] of this package, and not given.
//
// # Damage
//
// Checksums are verified wherever the file system keeps them; a structure that
// does not match its own is a tree.CorruptError of the call that needed it. A
// damaged superblock or group descriptor is replaced by its backup copy. All
// numbers are bounded before they are used: blocks by the volume, depths by the
// format, loops by the number of blocks that the volume has.
//
// # Journal
//
// A dirty journal is replayed into a table of which journal block stands for
// which block of the volume (overlay), 16 bytes each; the data stays where it is.
// Fast commits are applied to inodes, extents and names in memory. Nothing is
// written. Deleted files that were still open are in no folder and so not seen;
// what a truncation had not yet given back lies behind the end of its file.
//
// # Memory
//
// Of Options.Memory a quarter holds metadata blocks, a quarter the replayed
// journal, an eighth the tables of names of large folders that have no usable
// hash tree. File content goes straight to the caller's buffer and is not kept.
//
// # Concurrency
//
// A volume does not change after Open, apart from its caches, which lock
// themselves; no lock is held across a read.
package ext
