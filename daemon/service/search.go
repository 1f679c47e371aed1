package service

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/catalogue"
)

var _ api.Finder = (*Service)(nil)

// Bounds of a page of a search.
const (
	usualHits = 1000
	mostHits  = 10_000
)

// errPageFull ends a search whose page is full.
var errPageFull = errors.New("the page is full")

// Search returns a page of what was found.
func (s *Service) Search(ctx context.Context, q api.SearchQuery) (page api.SearchPage, err error) {
	page.Hits = []api.SearchHit{}
	limit := q.Limit
	if limit <= 0 || limit > mostHits {
		limit = usualHits
	}
	volume, after := splitShown(api.UnescapePath(q.After))
	err = s.vaults.Read(ctx, q.Vault, func(v *blockstore.Vault) error {
		searched, err := SearchNames(ctx, v, q, func(h *catalogue.Hit) error {
			if q.After != "" && !h.Behind(volume, after) {
				return nil
			}
			if len(page.Hits) == limit {
				last := &page.Hits[limit-1]
				page.Next = api.EscapePath(catalogue.Shown(last.Volume, rawPath(last)))
				return errPageFull
			}
			page.Hits = append(page.Hits, DescribeHit(h))
			return nil
		})
		page.Searched = searched
		if errors.Is(err, errPageFull) {
			err = nil
		}
		return err
	})
	return page, err
}

// splitShown undoes catalogue.Shown.
func splitShown(s string) (volume, path string) {
	if volume, path, ok := strings.Cut(s, ":"); ok && !strings.HasPrefix(s, "/") {
		return volume, path
	}
	return "", s
}

// rawPath is the path of a hit in the guest's bytes.
func rawPath(h *api.SearchHit) string {
	if h.PathEscaped == "" {
		return h.Path
	}
	return api.UnescapePath(h.PathEscaped)
}

// SearchNames reads the catalogues of a machine's points and calls found for each path that fits, in the
// order of paths. Points that have none are in what it returns.
func SearchNames(ctx context.Context, v *blockstore.Vault, q api.SearchQuery, found func(*catalogue.Hit) error) (api.Searched, error) {
	none := api.Searched{Missing: []api.SearchPoint{}, Problems: []string{}, Unread: []api.GuestProblem{}}
	query, err := queryOf(q)
	if err != nil {
		return none, err
	}
	points, unread, err := pointsBetween(ctx, v, q.Machine, q.Since, q.Until)
	if err != nil {
		return none, err
	}
	if unread != nil {
		none.Problems = append(none.Problems, unread.Error())
	}
	if points = ofNewest(points); len(points) == 0 {
		return none, nil
	}
	look, err := catalogue.Look(v, points[0].Machine, points)
	if err != nil {
		return none, err
	}
	searched, err := catalogue.Search(ctx, v, look, query, catalogue.SearchOptions{}, found)
	var no *catalogue.NoTreeError
	if errors.As(err, &no) {
		err = Hinted(err, elsewhere(no, q, len(searched.Missing)))
	}
	told := describeSearched(searched)
	told.Problems = append(none.Problems, told.Problems...)
	return told, err
}

// elsewhere says what to do where no volume of that name is listed.
func elsewhere(e *catalogue.NoTreeError, q api.SearchQuery, missing int) string {
	switch near := Closest(e.Volume, e.Trees); {
	case e.Inside != "":
		return fmt.Sprintf("search %s@all:%s", q.Machine, strings.ToValidUTF8(e.Inside, "�"))
	case missing > 0:
		return fmt.Sprintf("%s of %s have no catalogue and may have it: `holdfast catalogue build %s` makes them", Count(missing, "point"), q.Machine, q.Machine)
	case near != "":
		return fmt.Sprintf("did you mean %s?", near)
	}
	return fmt.Sprintf("`holdfast volumes %s@POINT` lists what a point holds", q.Machine)
}

// ofNewest are those points, oldest first, that are of the newest one's machine: points of one name may be of several,
// and each machine has catalogues of its own.
func ofNewest(points []*blockstore.Point) []*blockstore.Point {
	if len(points) == 0 {
		return nil
	}
	id := points[len(points)-1].Machine
	return slices.DeleteFunc(points, func(p *blockstore.Point) bool { return p.Machine != id })
}

var fileTypes = map[string]uint32{"f": 0o100000, "d": 0o040000, "l": 0o120000, "b": 0o060000, "c": 0o020000, "p": 0o010000, "s": 0o140000}

// queryOf reads a query. What makes no sense is an *Invalid.
func queryOf(q api.SearchQuery) (c catalogue.Query, err error) {
	c = catalogue.Query{Volume: q.Volume, Top: q.Path, AllOf: q.All, Name: q.Name, Least: q.Least, Most: q.Most, Deleted: q.Deleted}
	if err := catalogue.CheckName(q.Name); err != nil {
		return c, invalidf("name %.80q is no pattern", q.Name)
	}
	if q.Pattern != "" {
		re, err := PathPattern(q.Pattern)
		if err != nil {
			return c, invalidf("path %.80q is no pattern", q.Pattern)
		}
		c.Path = re.MatchString
	}
	if q.Type != "" {
		if c.Type = fileTypes[q.Type]; c.Type == 0 {
			return c, invalidf("type %.10q is not known: f, d, l, b, c, p or s", q.Type)
		}
	}
	if strings.ContainsRune(q.Path, 0) || strings.ContainsRune(q.Volume, 0) {
		return c, invalidf("no path of a guest holds a zero byte")
	}
	if q.Newer != nil {
		c.Newer = *q.Newer
	}
	if q.Older != nil {
		c.Older = *q.Older
	}
	return c, nil
}

// PathPattern is a pattern in which * and ? match slashes, too, as find(1) has it.
func PathPattern(p string) (*regexp.Regexp, error) {
	if err := catalogue.CheckName(p); err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(p); i++ {
		switch c := p[i]; c {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteByte('.')
		case '[':
			end := i + 1 + strings.IndexByte(p[i+1:], ']')
			b.WriteString(strings.Replace(p[i:end+1], "[!", "[^", 1))
			i = end
		case '\\':
			i++
			b.WriteString(regexp.QuoteMeta(p[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(p[i : i+1]))
		}
	}
	return regexp.Compile(b.String() + `\z`)
}

func describeSearched(s *catalogue.Searched) api.Searched {
	out := api.Searched{Points: len(s.Points), Missing: []api.SearchPoint{}, Problems: []string{}, Unread: describeUnread(s.Unread), Entries: s.Names, Seconds: s.Took.Seconds()}
	if n := len(s.Points); n > 0 {
		first, last := searchPoint(s.Points[0]), searchPoint(s.Points[n-1])
		out.First, out.Last = &first, &last
	}
	for _, p := range s.Missing {
		out.Missing = append(out.Missing, searchPoint(p))
	}
	for _, err := range s.Bad {
		out.Problems = append(out.Problems, err.Error())
	}
	return out
}

func describeUnread(list []catalogue.Unread) []api.GuestProblem {
	out := []api.GuestProblem{}
	for _, u := range list {
		out = append(out, api.GuestProblem{Path: strings.ToValidUTF8(u.Path(), "�"), Error: u.Why, Remote: u.Remote})
	}
	return out
}

func searchPoint(p *blockstore.Point) api.SearchPoint {
	return api.SearchPoint{ID: string(p.ID), Time: api.At(p.Time)}
}

// DescribeHit says what a search found at a path.
func DescribeHit(h *catalogue.Hit) api.SearchHit {
	out := api.SearchHit{Path: strings.ToValidUTF8(h.Path, "�"), Volume: h.Volume, Deleted: h.Deleted, Versions: make([]api.SearchVersion, 0, len(h.Versions))}
	if !utf8.ValidString(h.Path) {
		out.PathEscaped = api.EscapePath(h.Path)
	}
	if out.Name = out.Path[strings.LastIndexByte(out.Path, '/')+1:]; out.Name == "" {
		out.Name = "/"
	}
	for _, v := range h.Versions {
		out.Versions = append(out.Versions, api.SearchVersion{Type: api.FileType(v.Mode), Mode: fmt.Sprintf("%04o", v.Mode&0o7777), Permissions: permissions(v.Mode), UID: v.UID, GID: v.GID,
			Size: v.Size, Inode: v.Ino, First: searchPoint(v.First), Last: searchPoint(v.Last), Points: v.Points,
			Modified: api.Moment(v.Modified())})
	}
	return out
}

// Catalogues says of each point of a machine whether it has a catalogue, the oldest first.
func (s *Service) Catalogues(ctx context.Context, vault, machine string) (all []api.Catalogue, err error) {
	err = s.vaults.Read(ctx, vault, func(v *blockstore.Vault) (err error) {
		all, err = DescribeCatalogues(ctx, v, machine)
		return err
	})
	return all, err
}

// DescribeCatalogues says of each point of a machine whether it has a catalogue, the oldest first.
func DescribeCatalogues(ctx context.Context, v *blockstore.Vault, machine string) ([]api.Catalogue, error) {
	points, unread, err := pointsBetween(ctx, v, machine, nil, nil)
	if points = ofNewest(points); err != nil || len(points) == 0 {
		return nil, err
	}
	look, err := catalogue.Look(v, points[0].Machine, points)
	if err != nil {
		return nil, err
	}
	all := []api.Catalogue{}
	for _, p := range look.Points {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c := api.Catalogue{PointRef: api.PointRef{Machine: p.MachineName, Point: string(p.ID)}, Time: api.At(p.Time)}
		if chain := look.Chains[p.ID]; chain != nil {
			c.There = true
			info, err := catalogue.Show(v, chain)
			if err != nil {
				c.Error = err.Error()
			} else {
				made := api.At(info.Made.Truncate(time.Second))
				c.Names, c.New, c.Whole, c.Chain, c.Size, c.Made, c.Unread = info.Names, info.Changes, info.Whole, info.Chain, info.Size, &made, describeUnread(info.Unread)
			}
		}
		all = append(all, c)
	}
	return all, unread
}
