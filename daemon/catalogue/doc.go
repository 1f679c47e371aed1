// Package catalogue keeps the names of a guest's files at each recovery point, so that a
// search over a year of points reads lists instead of disks.
//
// A catalogue lists everything at one point: names, types, sizes, times, owners. It is
// whole, or says what differs from the catalogue of an older point. [Build] makes one,
// [Look] tells which points have one, and a [Search] reads many of them once, side by side.
// Where they lie and what seals them is the vault's business; nothing that is restored
// ever needs one, and one that is lost is built again.
//
// # What is listed
//
// The guest's root as its fstab puts it together is one tree, without a name. Each volume
// with files that the root does not reach is a tree of its own, named as the volume. What
// could not be read is listed by the reason, and what the catalogue below knew of it
// stays as it was: nothing counts as deleted only because it could not be read. Likewise a
// volume that the maps of both points prove to be the same is not read at all.
//
// # Format, version 1
//
// The first frame is an H and a JSON object, [Head]; the last an S and a JSON object,
// [Summary]. Each between is an E and entries, sorted by key over all frames, no key twice.
// A key is the name of the tree, then each name of the path with a zero byte before it; keys
// compare as bytes, so that a folder comes before what is in it. An entry:
//
//	1 byte   flags: 1 gone (not in the point any more; only the key follows), 2 it has a time,
//	         4 mode, uid and gid are those of the entry before in this frame that was not gone
//	varint   how many bytes of the key it shares with the entry before in this frame
//	varint   how many bytes follow of its own, and these
//	varint   mode, uid, gid, as stat(2) has them: unless flag 4 is set
//	varint   size in bytes
//	varint   seconds since 1970, zigzag, and nanoseconds: if flag 2 is set
//	varint   inode
//
// Varints are those of encoding/binary. A frame stands for itself, so that frames are read
// by several processors. All that is read is bounded, and what does not fit together is an
// error that wraps [blockstore.ErrCatalogue].
package catalogue
