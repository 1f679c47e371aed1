// Package fat reads FAT12, FAT16 and FAT32 with long names and shows them as a
// [tree.FileSystem]; [Format] is all that it exports.
//
// What is shown how:
//
//   - An inode number is the place of the file's short entry on the volume,
//     divided by the 32 bytes that an entry has; the root is 1. So it stays the
//     same, and a folder that leads back to one above it shows the same numbers again.
//   - Names are the long ones (WTF-8, package wtf8) where their checksum holds, else the
//     short ones, from the code page that [tree.Options] names. Both are found,
//     in upper and lower case.
//   - Modes are 0755 for folders, 0644 for files, 0444 for files that are marked
//     read-only; the owner is 0. Times are local times of the guest, taken for UTC: written
//     to 2 s, created to 10 ms, read to the day. There are no links and no extended attributes.
//   - Where an entry of the first file allocation table cannot be, the next copy
//     of the table is asked.
//
// A folder must begin with the entry of itself, as every system writes it: one
// that does not is damage, and not junk that is listed. A chain that goes in
// circles is damage of its file.
//
// The format is after Microsoft's "FAT32 File System Specification" 1.03 of 2000.
package fat
