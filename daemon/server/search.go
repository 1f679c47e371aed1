package server

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// searchIn is a search over all points of a machine.
type searchIn struct {
	MachineIn
	Volume  string    `query:"volume" maxLength:"256" doc:"The volume that is searched, by its name; missing: the guest's root, put together from its fstab." example:"vdb1"`
	Path    string    `query:"path" maxLength:"16384" doc:"Only this and what is below it, percent-encoded byte by byte." example:"/home"`
	All     bool      `query:"all" doc:"The root, and every volume that it does not reach."`
	Name    string    `query:"name" maxLength:"1024" doc:"A pattern of names, with *, ? and [...]." example:"report*.xlsx"`
	Pattern string    `query:"pattern" maxLength:"4096" doc:"A pattern of whole paths, in which * matches slashes, too." example:"*/mail/*"`
	Type    string    `query:"type" pattern:"^[fdlbcps]$" doc:"f files, d folders, l links, b and c devices, p pipes, s sockets." example:"f"`
	Newer   time.Time `query:"newer" doc:"Changed after that." example:"2026-11-01T00:00:00Z"`
	Older   time.Time `query:"older" doc:"Last changed before that." example:"2026-12-01T00:00:00Z"`
	Least   int64     `query:"least" minimum:"0" doc:"Bytes." example:"1024"`
	Most    int64     `query:"most" minimum:"-1" default:"-1" doc:"Bytes; -1: no limit." example:"-1"`
	Deleted bool      `query:"deleted" doc:"Only what the newest of the points does not have."`
	Since   time.Time `query:"since" doc:"Only points of that time and later." example:"2026-01-01T00:00:00Z"`
	Until   time.Time `query:"until" doc:"Only points of that time and earlier." example:"2026-12-01T00:00:00Z"`
	After   string    `query:"after" maxLength:"32768" doc:"What the page before has as next; missing: the first page."`
	Limit   int       `query:"limit" minimum:"0" maximum:"10000" doc:"At most so many paths; 0: 1000."`
}

var _ huma.Resolver = (*searchIn)(nil)

// Resolve refuses what no guest has.
func (in *searchIn) Resolve(ctx huma.Context) []error {
	errs := in.VaultIn.Resolve(ctx)
	if strings.ContainsRune(in.Path+in.Name+in.Pattern, 0) {
		errs = append(errs, &huma.ErrorDetail{Location: "query.path", Message: "no name holds a zero byte"})
	}
	if !printable(in.Volume) {
		errs = append(errs, &huma.ErrorDetail{Location: "query.volume", Message: "is no name of a volume"})
	}
	return errs
}

func (in *searchIn) query() api.SearchQuery {
	q := api.SearchQuery{Vault: in.Vault, Machine: in.Machine, Volume: in.Volume, Path: in.Path, All: in.All, Name: in.Name, Pattern: in.Pattern, Type: in.Type,
		Least: in.Least, Most: in.Most, Deleted: in.Deleted, After: in.After, Limit: in.Limit}
	for to, at := range map[**time.Time]time.Time{&q.Newer: in.Newer, &q.Older: in.Older} {
		if !at.IsZero() {
			*to = &at
		}
	}
	for to, at := range map[**api.Time]time.Time{&q.Since: in.Since, &q.Until: in.Until} {
		if !at.IsZero() {
			t := api.At(at)
			*to = &t
		}
	}
	return q
}

// searchesAtOnce is how many searches run at once, half of them at most for one caller: each takes a
// processor or two, and up to 128 MiB.
const searchesAtOnce = 4

// registerSearch adds searches over all points of a machine. They read names of files, so they take what
// reading contents takes, and each is in the audit log.
func (s *Server) registerSearch() {
	s.searches.most = searchesAtOnce
	add(s, endpoint[searchIn, api.SearchPage]{id: "search-files", method: http.MethodGet, path: "/vaults/{vault}/machines/{machine}/search", tag: "points",
		summary: "Search the files of a guest over all points", text: "Finds files by name, path, type, size or time, and says from which point to which each version was there. " +
			"It reads the catalogues of names that a job of kind `catalogue` makes; points that have none are listed as `missing`, and nothing is said of them.",
		may: access.Read, audited: true, limit: long, answer: exampleSearch,
		needs: func(in *searchIn) []need { return onMachine(access.Read, in.Vault, &in.Machine) },
		do: func(ctx context.Context, c *call, in *searchIn) (api.SearchPage, error) {
			c.entry.Object = searchObject(in)
			if s.c.Finder == nil {
				return api.SearchPage{}, notServed("searches over all points")
			}
			_, leave, ok := s.searches.enter(c.who.Name)
			if !ok {
				return api.SearchPage{}, tooMany(nil, time.Second, "too many searches at once")
			}
			defer leave()
			return s.c.Finder.Search(ctx, in.query())
		}})
	add(s, endpoint[MachineIn, []api.Catalogue]{id: "list-catalogues", method: http.MethodGet, path: "/vaults/{vault}/machines/{machine}/catalogues", tag: "points",
		summary: "Say which points can be searched", text: "Lists the points of a machine, oldest first, and whether each has a catalogue of names, with what could not be read for it.",
		may: access.Read, audited: true, limit: long, answer: []api.Catalogue{exampleCatalogue},
		needs: func(in *MachineIn) []need { return onMachine(access.Read, in.Vault, &in.Machine) },
		do: func(ctx context.Context, _ *call, in *MachineIn) ([]api.Catalogue, error) {
			if s.c.Finder == nil {
				return nil, notServed("searches over all points")
			}
			all, err := s.c.Finder.Catalogues(ctx, in.Vault, in.Machine)
			return notNil(all), err
		}})
}

// searchObject is how the audit log names what was searched for.
func searchObject(in *searchIn) string {
	parts := []string{"all points"}
	if in.Deleted {
		parts = append(parts, "deleted")
	}
	at := in.Path
	if in.Volume != "" {
		at = in.Volume + ":" + at
	}
	for _, part := range [][2]string{{"in", at}, {"name", in.Name}, {"path", in.Pattern}} {
		if part[1] != "" {
			parts = append(parts, part[0]+" "+part[1])
		}
	}
	text := strings.Join(parts, " ")
	if !printable(text) {
		text = api.EscapePath(text)
	}
	return firstBytes(text, 900)
}

var (
	exampleSearch = api.SearchPage{Hits: []api.SearchHit{{Path: "/home/ann/report-3.xlsx", Name: "report-3.xlsx", Deleted: true, Versions: []api.SearchVersion{{
		Type: "file", Mode: "0644", Permissions: "-rw-r--r--", UID: 1000, GID: 1000, Size: 48213, Inode: 131075, First: exampleSearchPoint, Last: exampleSearchPoint, Points: 1}}}},
		Searched: api.Searched{Points: 365, First: &exampleSearchPoint, Last: &exampleSearchPoint, Missing: []api.SearchPoint{}, Problems: []string{}, Unread: []api.GuestProblem{}, Entries: 4_650_000, Seconds: 0.8}}
	exampleSearchPoint = api.SearchPoint{ID: "p0011223344556677", Time: exampleCatalogue.Time}
	exampleCatalogue   = api.Catalogue{PointRef: api.PointRef{Machine: "web1", Point: "p0011223344556677"}, Time: api.At(time.Date(2026, 11, 22, 22, 0, 5, 0, time.UTC)),
		There: true, Names: 214_500, New: 2210, Chain: 12, Size: 98_304}
)
