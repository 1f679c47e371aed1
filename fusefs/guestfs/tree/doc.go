// Package tree is what every reader of a guest's file system gives: a read-only
// tree of inodes with all the metadata that a restore needs.
//
// A [Format] tells its file system by its first blocks and opens it; a
// [FileSystem] answers by inode number, never by path, so that walks stay
// linear. What was meant to be written by the guest before its disk was frozen
// (a dirty journal) is already applied in memory, or [Info] says that it is not.
//
// A damaged structure is a [CorruptError] of the call that met it and leaves
// every other inode readable. What a reader knows but cannot give (an
// encrypted name, an unknown compression) is an [UnsupportedError].
package tree
