// Package content names what a vault stores.
//
// An [ID] names a block, a page or a blob by the keyed BLAKE3 hash of its
// plaintext; [Keys] holds the keys, all derived from a vault's one master
// secret. Equal content of one kind has one ID within a vault, content of
// different kinds never shares an ID, and without the master secret an ID says
// nothing about what it names. The package also computes the keyed MACs that
// records and segments carry.
//
// BLAKE3, its keyed mode and its key derivation: "BLAKE3: one function, fast
// everywhere" (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020), through
// github.com/zeebo/blake3, which is the fastest implementation for Go, and for blocks on
// processors with AVX-512 through lukechampine.com/blake3/guts, which is faster there.
package content
