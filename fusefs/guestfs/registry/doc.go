// Package registry reads the files (hives) in which Windows keeps its registry.
//
// [Open] gives a [Hive], whose [Key]s are found by path, in any case, and have values.
// Cells are read when they are needed, each bounded in size; what a hive says of itself is
// not believed: a cell that is not where it should be, or not in use, is a
// *tree.CorruptError of what led to it, and lists do not lead in circles.
//
// A running or halted Windows may have changes in the logs beside the file (SYSTEM.LOG1)
// that are not in it yet. They are not applied: [Hive.Dirty] says so.
//
// The format is after Maxim Suhanov's "Windows registry file format specification" (2015
// to 2021).
package registry
