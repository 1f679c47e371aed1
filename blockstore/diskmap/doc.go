// Package diskmap maps the blocks of a disk to IDs by a tree of pages that are
// content themselves, so that points share what did not change.
//
// A [Page] has 64 places. In a leaf (level 1) a place holds the ID of a block,
// above it the ID of a page of the level below; the zero ID stands for a whole
// range of zeros, so that holes cost nothing. A [Map] reads a tree, a [Builder]
// writes one from the first block to the last, taking whole subtrees over from
// the map of a parent point, and [Diff] walks two of them only where they
// differ. None holds more of a tree than the path that it is at.
package diskmap
