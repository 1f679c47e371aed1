package nbd

import "slices"

// pieces are the ranges of one read that have come, ascending, not touching
// each other. Servers send them in order, so there is nearly always one.
type pieces []piece

type piece struct{ from, to uint32 }

// add notes a range that is not empty, and refuses one that came before.
func (p *pieces) add(from, to uint32) error {
	i, _ := slices.BinarySearchFunc(*p, from, func(q piece, from uint32) int {
		if q.to <= from {
			return -1
		}
		return 1
	}) // the first piece that ends after from
	if i < len(*p) && (*p)[i].from < to {
		return violation("bytes %d to %d of a read came twice", max(from, (*p)[i].from), to)
	}
	joinsLeft := i > 0 && (*p)[i-1].to == from
	joinsRight := i < len(*p) && (*p)[i].from == to
	switch {
	case joinsLeft && joinsRight:
		(*p)[i-1].to = (*p)[i].to
		*p = slices.Delete(*p, i, i+1)
	case joinsLeft:
		(*p)[i-1].to = to
	case joinsRight:
		(*p)[i].from = from
	case len(*p) >= maxScattered:
		return violation("answer to a read in more than %d scattered pieces", maxScattered)
	default:
		*p = slices.Insert(*p, i, piece{from, to})
	}
	return nil
}

// all says whether the pieces are the whole of n bytes.
func (p pieces) all(n uint32) bool {
	return len(p) == 1 && p[0] == piece{0, n}
}
