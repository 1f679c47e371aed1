package tree

import "iter"

// Placed is a File that knows where on its volume the content lies, so that whoever
// knows that those parts of two volumes are the same need not read them.
type Placed interface {
	// Places yields the pieces of the content, ascending, not overlapping, within the
	// file's size. What lies between them reads as zeros. Nothing but these pieces and
	// the volume's bytes at them makes the content. An error is the last that it yields.
	Places() iter.Seq2[Piece, error]
}

// Piece is a part of a file's content, in bytes.
type Piece struct {
	Off, Len int64 // in the file

	// At is where the same bytes lie on the volume, one after another. It is negative
	// where they do not lie there as they are read: kept among the metadata,
	// compressed, or still in a journal.
	At int64
}

// Elsewhere is the At of a piece that has to be read.
const Elsewhere = -1
