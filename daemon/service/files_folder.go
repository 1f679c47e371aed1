package service

import (
	"cmp"
	"container/heap"
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// Entries of a page of a folder.
const (
	usualPage   = 1000
	largestPage = 10_000
)

// GuestFolder lists a folder, a page at a time. Each page reads the whole folder, and keeps no more of it than
// the page: a place in a folder is a name, which means the same whatever was let go meanwhile.
func (s *Service) GuestFolder(ctx context.Context, at api.GuestAt, page api.FolderPage) (api.GuestFolder, error) {
	from, err := parseCursor(page.After)
	if err != nil {
		return api.GuestFolder{}, err
	}
	limit := page.Limit
	if limit <= 0 {
		limit = usualPage
	}
	return askGuest(ctx, s, at, func(ctx context.Context, g *guest) (api.GuestFolder, error) {
		if from.point != "" && from.point != string(g.point.ID) {
			return api.GuestFolder{}, invalidf("the page before was of point %s: name that, since %s is %s by now", from.point, at.Point, g.point.ID)
		}
		p, err := g.find(at)
		if err != nil {
			return api.GuestFolder{}, err
		}
		return listFolder(ctx, g, p, from, min(limit, largestPage))
	})
}

// cursor is where the page before ended: at a name, and at its number in the folder, for names that come
// twice in a damaged one.
type cursor struct {
	point string // "": before the first
	entryKey
}

// entryKey sorts entries.
type entryKey struct {
	name   string
	number int
}

func (k entryKey) compare(other entryKey) int {
	return cmp.Or(strings.Compare(k.name, other.name), cmp.Compare(k.number, other.number))
}

func (c cursor) String() string {
	return c.point + "." + strconv.Itoa(c.number) + "." + url.QueryEscape(c.name)
}

func parseCursor(s string) (c cursor, err error) {
	if s == "" {
		return cursor{entryKey: entryKey{number: -1}}, nil
	}
	var number, name string
	var ok, also bool
	c.point, number, ok = strings.Cut(s, ".")
	number, name, also = strings.Cut(number, ".")
	c.number, err = strconv.Atoi(number)
	if err == nil {
		c.name, err = url.QueryUnescape(name)
	}
	if !ok || !also || err != nil || c.point == "" {
		return c, invalidf("that is no place in a folder: give what the page before has as next")
	}
	return c, nil
}

// entry is an entry of a folder that may be on the page.
type entry struct {
	entryKey
	child guestfs.Child
	err   error
}

// largestFirst is a heap of the entries that are on the page so far.
type largestFirst []entry

func (h largestFirst) Len() int           { return len(h) }
func (h largestFirst) Less(i, j int) bool { return h[i].compare(h[j].entryKey) > 0 }
func (h largestFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *largestFirst) Push(x any)        { *h = append(*h, x.(entry)) }
func (h *largestFirst) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

func listFolder(ctx context.Context, g *guest, p guestfs.Place, from cursor, limit int) (api.GuestFolder, error) {
	list := api.GuestFolder{Point: string(g.point.ID), Folder: DescribeFile(p, p.Path, nil), Entries: []api.GuestFile{}}
	a, err := p.Stat()
	if err != nil {
		return list, err
	}
	if a.Mode&0o170000 != 0o040000 {
		return list, Hinted(&notFolderError{p.Path}, "ask for its content, or for what it is")
	}
	page, more, err := pageOf(ctx, p, from.entryKey, limit)
	if ctx.Err() != nil {
		return list, context.Cause(ctx)
	}
	if err != nil {
		if len(page) == 0 && from.point == "" {
			return list, err
		}
		list.Error, list.Damaged = strings.ToValidUTF8(err.Error(), "�"), Explain(err).Exit == exitDamaged
	}
	for _, e := range page {
		if ctx.Err() != nil {
			return list, context.Cause(ctx)
		}
		var at guestfs.Place
		if e.err == nil {
			at, e.err = e.child.Place()
		}
		list.Entries = append(list.Entries, DescribeFile(at, strings.TrimSuffix(p.Path, "/")+"/"+e.name, e.err))
	}
	if more {
		list.Next = cursor{list.Point, page[len(page)-1].entryKey}.String()
	}
	return list, nil
}

// pageOf returns the first entries behind a place in a folder, sorted, whether there are more, and what
// kept the folder from being read to its end.
func pageOf(ctx context.Context, p guestfs.Place, from entryKey, limit int) (page []entry, more bool, err error) {
	h, number := largestFirst{}, 0
	for c, err := range p.Children() {
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		if err != nil && c.Name == "" {
			slices.SortFunc(h, func(a, b entry) int { return a.compare(b.entryKey) })
			return h, more, err
		}
		e := entry{entryKey{c.Name, number}, c, err}
		number++
		switch {
		case e.compare(from) <= 0:
		case len(h) < limit:
			heap.Push(&h, e)
		default:
			if more = true; e.compare(h[0].entryKey) < 0 {
				h[0] = e
				heap.Fix(&h, 0)
			}
		}
	}
	slices.SortFunc(h, func(a, b entry) int { return a.compare(b.entryKey) })
	return h, more, nil
}

// notFolderError says that a path is one of something else than a folder.
type notFolderError struct{ path string }

func (e *notFolderError) Error() string { return e.path + " is no folder" }

// Unwrap makes it what the system calls it.
func (e *notFolderError) Unwrap() error { return syscall.ENOTDIR }
