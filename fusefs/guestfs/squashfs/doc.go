// Package squashfs reads squashfs 4.0 and shows it as a [tree.FileSystem];
// [Format] is all that it exports.
//
// All kinds of inodes and folders, fragments, sparse blocks and extended attributes
// are read, compressed with gzip, lzo, xz, lz4 or zstd. What was compressed with the
// old lzma, or with xz and a filter for machine code, is reported. An inode
// number is the place of the inode within its table, plus one, and not the number that
// a mount would show; hard links have the same.
//
// Blocks that were read lately are kept decompressed, two at the least. A file whose list of blocks
// takes more than an eighth of the memory is reported and not read.
//
// The format is after the kernel's Documentation/filesystems/squashfs.rst and "The
// squashfs binary format" of squashfs-tools-ng; LZO after Documentation/staging/lzo.rst;
// the frame of xz after "The .xz file format" 1.2.1.
package squashfs
