// Package wof decodes what Windows Overlay Filter (CompactOS, `compact /exe`) makes of a
// file: chunks of [Method.Chunk] bytes, each compressed by itself with XPRESS Huffman or
// LZX, behind a table of where they lie. It knows nothing of NTFS.
//
// [ParseReparse] reads which method a file has, [Layout] tells where its chunks are, and
// [Method.Decode] decompresses one into a slice of the exact size. A decoder neither reads
// nor writes beyond its slices, takes time in proportion to what it writes, and answers
// garbage by an error or by some bytes: the format has no checksums. All of it may be used
// from several goroutines.
//
// Sources: [MS-XCA] 2.1 and 2.2 for XPRESS Huffman; "Microsoft LZX Data Compression Format"
// (part of the Cabinet SDK) for LZX, with what WIM files have of their own: a window of
// 32 KiB that each chunk begins anew, sizes of blocks in 1 or 17 bits, and calls (0xE8)
// translated in every chunk as of a file of 12,000,000 bytes; the headers wofapi.h and
// ntifs.h of Windows' SDK for the reparse point.
package wof
