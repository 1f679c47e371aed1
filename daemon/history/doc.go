// Package history tells what became of files from point to point, and where two points
// differ, without reading what the maps of the disks prove to be the same.
//
// [File] follows one path over the points of a machine. What a point says of it depends
// on the bytes that were read to find it out and on nothing else: a later point in whose
// maps the same blocks hold the same IDs says the same, and is not opened. Where one of
// them differs the path is looked up again, which reads what changed, and its content is
// compared by where it lies (tree.Placed): only blocks that differ are read.
//
// [Diff] walks the trees of two points side by side, folder by folder. What both share is
// read once, since blocks of the same ID are one in the vault's memory; contents are
// compared as above; volumes whose disks did not change are passed over.
//
// What is not proven is read. What cannot be read is told as such, and is never taken
// for absent or for the same.
package history
