// Package index answers the writer's question "is this stored already?": a
// Badger database of which IDs lie where in sealed packs.
//
// It is never the only copy of anything and is believed only for packs that
// are known to be there: a pack is entered with its entries first and its own
// key last, so that a pack without a key is simply entered again. Readers do
// not use it.
//
// Badger (github.com/dgraph-io/badger) is the store that the project was asked
// to use; only this package imports it. Values lie inline in its tables, since
// its value log gives space back late and loses neighbours of a damaged value.
package index
