// Package udf reads UDF 1.02 to 2.60 and shows it as a [tree.FileSystem]; [Format] is
// all that it exports.
//
// What is shown how:
//
//   - Partitions are physical, virtual (write-once media: the table of the last session),
//     sparable (what was worn out is read from where it was moved) or of metadata, for
//     which the mirror stands in where the main file cannot be read.
//   - Entries that were deleted are not shown; those that are merely hidden are.
//   - An inode number is the number of the partition and the block of the file entry in
//     it, and one: hard links share one. UID or GID that are not given are 65534, as on
//     Linux; case matters.
//   - Named streams are streams (tree.Streamer) and, when small, attributes "user.NAME",
//     but for those by which UDF itself keeps things ("*UDF ..."). Attributes
//     of devices and times of creation are read, those of other systems are not.
//   - A file whose extents end before its size cannot be read from there on: UDF says so
//     where it means a hole.
//
// Every descriptor is believed only with its checksum, its CRC and its own place in its
// tag. A volume that was not closed has a note; UDF keeps no journal.
//
// The formats are after ECMA-167 (3rd edition, 1997) and OSTA's "Universal Disk Format
// Specification" 1.02, 1.50, 2.01, 2.50 and 2.60.
package udf
