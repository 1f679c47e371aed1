package blockstore

import (
	"encoding/binary"
	"sync/atomic"
)

// asked remembers blocks of which a small part was asked for not long ago: the
// next part is worth keeping the decoded block for, whereas a program that
// jumps about would fill the cache with blocks that nobody asks for again, each on
// memory that is in no processor's cache. It forgets at random and never
// waits. The zero value is empty.
type asked [4096]atomic.Uint64 // index: by ID; value: more of the ID

// before tells whether id was asked for before, and notes that it is now.
func (a *asked) before(id ID) bool {
	slot, key := binary.LittleEndian.Uint16(id[:]), binary.LittleEndian.Uint64(id[2:])
	return a[int(slot)%len(a)].Swap(key) == key
}
