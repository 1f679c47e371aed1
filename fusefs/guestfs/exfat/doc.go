// Package exfat reads exFAT and shows it as a [tree.FileSystem]; [Format] is all
// that it exports.
//
// What is shown how:
//
//   - An inode number is the place of the file's entry set on the volume, divided
//     by the 32 bytes that an entry has; the root is 1.
//   - Names are WTF-8 (package wtf8) and found in upper and lower case, as the
//     volume's own up-case table has it; where that is damaged, as Unicode has it.
//   - Modes are 0755 for folders, 0644 for files, 0444 for files that are marked
//     read-only; the owner is 0. Times hold 10 ms (2 s for the last reading) and
//     are UTC where the guest wrote its offset, else local times taken for UTC.
//   - What lies between a file's valid length and its size reads as zeros and is a hole.
//   - Where the boot region is damaged, its copy is used.
//
// An entry set whose checksum is wrong is damage of that name; a chain that goes
// in circles is damage of its file or folder. There are no links and no extended
// attributes.
//
// The format is after Microsoft's "exFAT file system specification" of 2019.
package exfat
