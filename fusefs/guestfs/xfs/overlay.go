package xfs

import (
	"errors"
	"io"
	"slices"
)

// errMemory says that a replay needs more memory than it may take.
var errMemory = errors.New("it needs more memory than the volume may take")

// overlay is the volume with what the log changed laid over it. It is written
// while the log is replayed, by one goroutine, and only read after freeze.
type overlay struct {
	base  io.ReaderAt
	page  int64 // bytes
	end   int64 // of what may be written
	pages map[int64][]byte
	room  *budget
	order []int64 // the numbers of the pages, ascending, after freeze
}

// budget is memory that may still be taken.
type budget struct{ left int64 }

func (b *budget) take(n int64) error {
	if b.left -= n; b.left < 0 {
		return errMemory
	}
	return nil
}

const pageOverhead = 96 // bytes of a map's entry, and of the list of pages

// write changes a part of the volume.
func (o *overlay) write(at int64, b []byte) error {
	if at < 0 || at+int64(len(b)) > o.end {
		return corrupt("the log", at, "it changes what lies outside of the file system")
	}
	for len(b) > 0 {
		p, err := o.writable(at / o.page)
		if err != nil {
			return err
		}
		n := copy(p[at%o.page:], b)
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// writable returns a page, which is what lies below until it is changed.
func (o *overlay) writable(number int64) ([]byte, error) {
	if p := o.pages[number]; p != nil {
		return p, nil
	}
	if err := o.room.take(o.page + pageOverhead); err != nil {
		return nil, err
	}
	p := make([]byte, o.page)
	if n, err := o.base.ReadAt(p, number*o.page); n < len(p) && err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	o.pages[number] = p
	return p, nil
}

// freeze ends the time of writing.
func (o *overlay) freeze() {
	o.order = make([]int64, 0, len(o.pages))
	for n := range o.pages {
		o.order = append(o.order, n)
	}
	slices.Sort(o.order)
}

// ReadAt implements io.ReaderAt.
func (o *overlay) ReadAt(p []byte, at int64) (int, error) {
	if number := at / o.page; at >= 0 && number == (at+int64(len(p))-1)/o.page {
		if b := o.pages[number]; b != nil { // as an inode does, mostly
			return copy(p, b[at%o.page:]), nil
		}
	}
	n, err := o.base.ReadAt(p, at)
	for number := range o.within(at, int64(n)) {
		b, from := o.pages[number], number*o.page
		if from < at {
			copy(p[:n], b[at-from:])
		} else {
			copy(p[from-at:n], b)
		}
	}
	return n, err
}

// within yields the pages that lie in a part of the volume.
func (o *overlay) within(at, n int64) func(func(int64) bool) {
	return func(yield func(int64) bool) {
		last := (at + n - 1) / o.page
		if o.order == nil {
			for number := at / o.page; n > 0 && number <= last; number++ {
				if o.pages[number] != nil && !yield(number) {
					return
				}
			}
			return
		}
		i, _ := slices.BinarySearch(o.order, at/o.page)
		for ; n > 0 && i < len(o.order) && o.order[i] <= last; i++ {
			if !yield(o.order[i]) {
				return
			}
		}
	}
}

// touches reports whether the log changed anything in a part of the volume. It
// may be asked of no overlay.
func (o *overlay) touches(at, n int64) bool {
	if o == nil {
		return false
	}
	for range o.within(at, n) {
		return true
	}
	return false
}
