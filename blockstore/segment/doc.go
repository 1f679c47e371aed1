// Package segment reads and writes segments: immutable sorted tables that say
// in which pack, and where there, the content of an ID lies.
//
// A [Builder] streams a table to a file, [Open] maps one into memory, and
// [Merge] makes one table of several. A segment also tells which recovery
// points were committed with it, whole, and which were dropped, so that the
// record of a point can be put back.
//
// A look-up narrows the table by a fan-out over the first bits of the ID and
// goes on by interpolation, since hashes are spread evenly: about half a
// microsecond in a table of 50 million entries. blockstore/FORMAT.md gives every
// byte.
package segment
