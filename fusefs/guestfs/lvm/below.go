package lvm

import (
	"io"
	"sort"
)

// Below says in which reader a byte of the volume lies, where in it, and how many follow
// there one after another. What lies in several (RAID) is a reader of its own.
func (v *Volume) Below(off int64) (r io.ReaderAt, at, n int64, ok bool) {
	i := sort.Search(len(v.runs), func(i int) bool { return v.runs[i].start+v.runs[i].len > off })
	if v.Err != nil || off < 0 || i == len(v.runs) {
		return nil, 0, 0, false
	}
	p, at, n := v.runs[i].find(off - v.runs[i].start)
	return p.r, p.off + at, n, true
}

// find returns the place that holds a byte of the run, the offset there, and how many
// bytes follow.
func (r *run) find(off int64) (place, int64, int64) {
	left := r.len - off
	n := int64(len(r.at))
	if n == 1 {
		return r.at[0], off, left
	}
	row, within := off/r.stripe, off%r.stripe
	return r.at[row%n], row/n*r.stripe + within, min(left, r.stripe-within)
}
