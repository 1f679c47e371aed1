package btrfs

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// maxPiece is how much is read and checked at once.
const maxPiece = 1 << 20

// readData fills p with data from a logical address; checked: against the checksums of
// its sectors, whole sectors being read for that.
func (v *volume) readData(p []byte, logical uint64, checked bool) error {
	sector := uint64(v.sector)
	for len(p) > 0 {
		c, err := v.chunks.find(logical)
		if err != nil {
			return err
		}
		n := min(uint64(len(p)), maxPiece, c.end()-logical)
		switch skip := logical % sector; {
		case checked && (skip > 0 || n < sector): // a part of a sector
			b := make([]byte, sector)
			if err := v.readSectors(b, logical-skip, true); err != nil {
				return err
			}
			n = uint64(copy(p, b[skip:]))
		default:
			if checked {
				n &^= sector - 1
			}
			if err := v.readSectors(p[:n], logical, checked); err != nil {
				return err
			}
		}
		p, logical = p[n:], logical+n
	}
	return nil
}

// readSectors reads sectors of one chunk, each from a copy in which it is whole.
func (v *volume) readSectors(p []byte, logical uint64, checked bool) error {
	err := v.anyCopy(p, logical, func() error {
		if !checked {
			return nil
		}
		return v.verify(p, logical)
	})
	if err == nil || len(p) <= v.sector || !checked {
		return err
	}
	if c, _ := v.chunks.find(logical); c == nil || c.copies() < 2 {
		return err
	}
	for off := 0; off < len(p); off += v.sector { // the good ones may be spread over the copies
		if err := v.readSectors(p[off:min(off+v.sector, len(p))], logical+uint64(off), true); err != nil {
			return err
		}
	}
	return nil
}

// verify compares sectors with their checksums. What has none is not checked.
func (v *volume) verify(p []byte, logical uint64) error {
	for done := 0; done < len(p); {
		n, sums, err := v.sumsOf(logical+uint64(done), (len(p)-done)/v.sector)
		if err != nil {
			return err
		}
		for i := range n {
			if sums == nil {
				break
			}
			at := done + i*v.sector
			if !v.sum.matches(sums[i*v.sum.size():], p[at:at+v.sector]) {
				where := logical + uint64(at)
				return &tree.CorruptError{What: fmt.Sprintf("the data at logical address %d", where), Why: "its checksum is wrong", At: v.locate(where)}
			}
		}
		done += n * v.sector
		if n == 0 {
			break
		}
	}
	return nil
}

// sumsOf returns the checksums of up to n sectors from an address on: of how many, and
// nil where those have none. What a log has to say goes before.
func (v *volume) sumsOf(logical uint64, n int) (int, []byte, error) {
	for _, t := range []*table{v.logSums, v.sumRoot} {
		if t == nil {
			continue
		}
		have, next, sums, err := v.sumsIn(t, logical)
		if err != nil {
			return 0, nil, fmt.Errorf("look for checksums: %w", err)
		}
		if sums != nil {
			return min(have, n), sums, nil
		}
		n = min(n, next)
	}
	return n, nil, nil
}

// sumsIn looks into one tree: the sums of the sectors from an address on, or how many
// sectors have none there.
func (v *volume) sumsIn(t *table, logical uint64) (have, next int, sums []byte, err error) {
	k := key{sumObject, typeSums, logical}
	i, ok, err := t.floor(k, key{sumObject, typeSums, 0})
	if err != nil {
		return 0, 0, nil, err
	}
	sector, size := uint64(v.sector), v.sum.size()
	if ok {
		skip := (logical - i.off) / sector
		if count := uint64(len(i.b) / size); skip < count {
			return int(count - skip), 0, i.b[int(skip)*size:], nil
		}
	}
	for i, err := range t.scan(k, key{sumObject, typeSums, logical + maxPiece}) {
		if err != nil {
			return 0, 0, nil, err
		}
		return 0, max(int((i.off-logical)/sector), 1), nil, nil
	}
	return 0, maxPiece, nil, nil
}
