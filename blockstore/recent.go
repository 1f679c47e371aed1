package blockstore

import "encoding/binary"

// recentIDs remembers IDs that were marked lately. A page that changed between two
// points names mostly what the one in its place named before, so that this saves most
// look-ups of a walk over many points. It holds 8 MiB, whatever the vault's size.
type recentIDs struct{ slots []ID }

const recentSlots = 1 << 18

func (r *recentIDs) has(id ID) bool { return r.slots != nil && *r.slot(id) == id }

func (r *recentIDs) add(id ID) {
	if r.slots == nil {
		r.slots = make([]ID, recentSlots)
	}
	*r.slot(id) = id
}

// slot is where id belongs. IDs are evenly spread: their first bytes are as good as a
// hash of them.
func (r *recentIDs) slot(id ID) *ID { return &r.slots[binary.LittleEndian.Uint32(id[:])%recentSlots] }
