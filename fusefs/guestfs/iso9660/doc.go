// Package iso9660 reads ISO 9660 with Rock Ridge or Joliet and shows it as a
// [tree.FileSystem]; [Format] is all that it exports.
//
// What is shown how:
//
//   - Where there is Rock Ridge, names, modes, owners, links, devices and times are
//     those that it tells, and folders that lie too deep are at their own place. Else
//     names are those of Joliet, else ISO 9660's in lower case and without ";1";
//     then modes are 0555 for folders, 0444 for files, and case does not matter.
//   - An inode number is the place of the directory record, divided by 2; the root is
//     1. Hard links are files of their own.
//   - A file of several extents is one. Files that were compressed (zisofs) or
//     interleaved are reported and not read. Extended attributes are not read.
//   - A number that is kept in both byte orders must be the same in both, unless the
//     second was left zero, as some tools do.
//
// A folder must begin with the record of itself: one that does not is damage, and
// not junk that is listed. Boot records (El Torito) are passed over.
//
// The formats are after ECMA-119 (4th edition, 2019), the System Use Sharing Protocol 1.12,
// the Rock Ridge Interchange Protocol 1.12 and Microsoft's "Joliet Specification" of 1995.
package iso9660
