package catalogue

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sort"
)

// finding is what a comparison of two points says of a key.
type finding int

const (
	changed finding = iota // or new
	same
	carried // not read now: as it was
	gone
)

// compare reads what was and what is side by side, and tells of each key, in order. What lies
// below something unread stays as it was.
func compare(was, is entries, unread prefixes, tell func(finding, *Entry) error) error {
	a, err := was.next()
	b, err2 := is.next()
	for {
		doneA, doneB := errors.Is(err, io.EOF), errors.Is(err2, io.EOF)
		switch {
		case err != nil && !doneA:
			return err
		case err2 != nil && !doneB:
			return err2
		case doneA && doneB:
			return nil
		}
		order := -1
		switch {
		case doneA:
			order = 1
		case !doneB:
			order = bytes.Compare(a.Key, b.Key)
		}
		if err := tellOf(order, &a, &b, unread, tell); err != nil {
			return err
		}
		if order <= 0 {
			a, err = was.next()
		}
		if order >= 0 {
			b, err2 = is.next()
		}
	}
}

func tellOf(order int, a, b *Entry, unread prefixes, tell func(finding, *Entry) error) error {
	switch {
	case order == 0 && a.Attr == b.Attr:
		return tell(same, b)
	case order >= 0:
		return tell(changed, b)
	case unread.cover(a.Key):
		return tell(carried, a)
	}
	return tell(gone, &Entry{Key: a.Key, Gone: true})
}

// prefixes are tops of trees of keys, sorted, none below another.
type prefixes [][]byte

func newPrefixes(list []Unread) prefixes {
	var all prefixes
	for _, u := range list {
		all = append(all, u.Key)
	}
	slices.SortFunc(all, bytes.Compare)
	var p prefixes
	for _, key := range all {
		if len(p) == 0 || !below(key, p[len(p)-1]) {
			p = append(p, key)
		}
	}
	return p
}

// cover tells whether key is one of them or below one. Since none is below another, only the
// last that is not after key can be it.
func (p prefixes) cover(key []byte) bool {
	i := sort.Search(len(p), func(i int) bool { return bytes.Compare(p[i], key) > 0 })
	return i > 0 && below(key, p[i-1])
}
