package xfs

import (
	"errors"
	"slices"
)

const (
	logBuffers  = 8 // records that may be on their way to the disk at once
	maxHeads    = 32
	maxSteps    = 4 << 20   // records that are passed on the way to a head, over all that are tried
	nearWindow  = 512 << 10 // in which the last record begins
	leastWindow = 256 << 10
)

// errTorn says that no run of records from a tail to a head is whole.
var errTorn = errors.New("no part of it is whole from its beginning to its end")

// span is the part of the ring that was not yet written to its places.
type span struct {
	tail, head record
	clean      bool // nothing waits: the head says that the volume was unmounted
}

// find looks for the last record that was wholly written, and for the oldest one
// that it needs. The ring's sectors carry the number of the round in which they
// were written, so that the place where the number falls is near the head; records
// on their way there at a crash may be missing or torn in any order, which is why
// each one that may be the head is tried, the youngest first.
func (j *journal) find() (span, error) {
	border, err := j.border()
	if err != nil || border < 0 {
		return span{clean: border < 0}, err
	}
	heads, err := j.heads(border)
	if err != nil {
		return span{}, err
	}
	steps := 0
	for i, head := range heads {
		if i == maxHeads || steps > maxSteps {
			break
		}
		data, whole, err := j.load(head)
		if err != nil {
			return span{}, err
		}
		if !whole {
			continue
		}
		if head.ops == 1 && len(data) >= opHeader && data[9]&opUnmount != 0 {
			return span{head, head, true}, nil
		}
		tail, ok, err := j.chain(head, heads, &steps)
		if err != nil {
			return span{}, err
		}
		if ok {
			return span{tail: tail, head: head}, nil
		}
	}
	return span{}, errTorn
}

// cycle is the round in which a sector was written.
func (j *journal) cycle(sector int64) (uint32, error) {
	var b [8]byte
	if err := j.read(b[:], sector); err != nil {
		return 0, err
	}
	if be.Uint32(b[:]) == magicRecord {
		return be.Uint32(b[4:]), nil
	}
	return be.Uint32(b[:]), nil
}

// border finds a sector whose round is not that of the first one while that of the
// sector before it is; the ring's length where there is none, -1 where nothing was
// ever written.
func (j *journal) border() (int64, error) {
	first, err := j.cycle(0)
	if err != nil || first == 0 {
		return -1, err
	}
	low, high := int64(0), j.sectors
	if last, err := j.cycle(j.sectors - 1); err != nil || last == first {
		return high, err
	}
	for high-low > 1 {
		middle := (low + high) / 2
		c, err := j.cycle(middle)
		if err != nil {
			return 0, err
		}
		if c == first {
			low = middle
		} else {
			high = middle
		}
	}
	return high, nil
}

// heads are the records that begin near a sector, the youngest first.
func (j *journal) heads(border int64) ([]record, error) {
	near, err := j.scan(border-nearWindow/sectorSize, nearWindow/sectorSize)
	if err != nil {
		return nil, err
	}
	window := leastWindow
	for _, r := range near {
		window = max(window, logBuffers*r.size, logBuffers*r.length)
	}
	around := int64(min(window, logBuffers*maxRecord) / sectorSize)
	all, err := j.scan(border-around, 2*around)
	if err != nil {
		return nil, err
	}
	all = append(all, near...)
	slices.SortFunc(all, func(a, b record) int {
		switch {
		case a.lsn > b.lsn:
			return -1
		case a.lsn < b.lsn:
			return 1
		}
		return 0
	})
	return slices.CompactFunc(all, func(a, b record) bool { return a.lsn == b.lsn }), nil
}

// scan returns the records that begin in so many sectors of the ring from one on.
func (j *journal) scan(from, n int64) ([]record, error) {
	if n > j.sectors {
		from, n = 0, j.sectors
	}
	from = (from%j.sectors + j.sectors) % j.sectors
	b := make([]byte, 256*sectorSize)
	var found []record
	for done := int64(0); done < n; {
		part := b[:min(int64(len(b)), (n-done)*sectorSize)]
		if err := j.read(part, from+done); err != nil {
			return nil, err
		}
		for i := 0; i < len(part); i += sectorSize {
			if r, ok := j.parse(part[i:], (from+done+int64(i/sectorSize))%j.sectors); ok {
				found = append(found, r)
			}
		}
		done += int64(len(part) / sectorSize)
	}
	return found, nil
}

// chain follows the records from the tail of one to it, and reports whether they
// touch without a gap. Those near the head, which may be torn, are read as well.
func (j *journal) chain(head record, near []record, steps *int) (tail record, ok bool, err error) {
	check := map[uint64]bool{}
	for _, r := range near {
		check[r.lsn] = true
	}
	sector, last := int64(uint32(head.tail)), uint64(0)
	for passed := int64(0); passed <= j.sectors && *steps <= maxSteps; *steps++ {
		r, ok, err := j.head(sector)
		if err != nil || !ok || r.lsn < head.tail || r.lsn <= last || r.lsn > head.lsn {
			return tail, false, err
		}
		if last == 0 {
			if r.lsn != head.tail {
				return tail, false, nil
			}
			tail = r
		}
		if r.lsn == head.lsn {
			return tail, true, nil
		}
		if check[r.lsn] {
			if _, whole, err := j.load(r); err != nil || !whole {
				return tail, false, err
			}
		}
		last, passed = r.lsn, passed+r.end()
		sector = (sector + r.end()) % j.sectors
	}
	return tail, false, nil
}
