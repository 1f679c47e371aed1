// Package pack reads and writes packs: immutable files of records, each of
// which is one block, page or blob, compressed and checked.
//
// A [Writer] appends records and seals the file with a footer that lists them;
// [ReadFooter] reads that list, [Decode] turns a record back into content whose
// hash was compared with its ID, and [Salvage] finds the records of a file
// whose footer is lost. An [Encoder] makes records.
//
// Compression is LZ4's block format through github.com/pierrec/lz4, the fastest
// compressor of its size for Go. blockstore/FORMAT.md gives every byte.
package pack
