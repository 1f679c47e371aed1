package segment

import (
	"runtime"
	"runtime/debug"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// FindEach looks up many IDs, which ascend, none twice. For each entry of one
// of them fn gets the place of the ID in ids, and the entry and its index. The segment is read in order, and what lies
// between two IDs is skipped: many IDs cost far less than as many calls of
// [Table.Find], above all where the segment is not in memory.
func (t *Table) FindEach(ids []content.ID, fn func(i int, at int64, e Entry) error) (err error) {
	defer unguard(&err, debug.SetPanicOnFault(true))
	defer runtime.KeepAlive(t)
	if len(ids) == 0 {
		return nil
	}
	at := t.lowerBound(ids[0])
	for i := 0; i < len(ids) && at < t.Count; {
		entry := (*content.ID)(t.id(at))
		switch c := compareIDs(&ids[i], entry); {
		case c < 0:
			i = gallop(i, len(ids), func(j int) bool { return compareIDs(&ids[j], entry) < 0 })
		case c > 0:
			id := &ids[i]
			at = gallop(at, t.Count, func(j int64) bool { return compareIDs((*content.ID)(t.id(j)), id) < 0 })
		default:
			e, err := t.decode(at)
			if err == nil {
				err = fn(i, at, e)
			}
			if err != nil {
				return err
			}
			if at++; at == t.Count || content.ID(t.id(at)) != ids[i] {
				i++
			}
		}
	}
	return nil
}

// gallop returns the first place after from, up to end, that is not below what
// is looked for; the one at from is. Near ones are found soonest.
func gallop[T int | int64](from, end T, below func(T) bool) T {
	step := T(1)
	for from+step < end && below(from+step) {
		from += step
		step *= 2
	}
	lo, hi := from+1, min(from+step, end)
	for lo < hi {
		if mid := lo + (hi-lo)/2; below(mid) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}
