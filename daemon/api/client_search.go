package api

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

var _ Finder = (*Client)(nil)

// Search returns a page of what was found.
func (c *Client) Search(ctx context.Context, q SearchQuery) (SearchPage, error) {
	v := values("volume", q.Volume, "path", q.Path, "all", flag(q.All), "name", q.Name, "pattern", q.Pattern, "type", q.Type, "deleted", flag(q.Deleted), "after", q.After)
	for name, at := range map[string]*time.Time{"newer": q.Newer, "older": q.Older} {
		if at != nil {
			v.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	for name, at := range map[string]*Time{"since": q.Since, "until": q.Until} {
		if at != nil {
			v.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	v.Set("least", strconv.FormatInt(q.Least, 10))
	v.Set("most", strconv.FormatInt(q.Most, 10))
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return do[SearchPage](ctx, c, call{method: http.MethodGet, path: []string{"vaults", q.Vault, "machines", q.Machine, "search"}, query: v, within: longDeadline})
}

// Catalogues says of each point of a machine whether it has a catalogue.
func (c *Client) Catalogues(ctx context.Context, vault, machine string) ([]Catalogue, error) {
	return list[Catalogue](ctx, c, call{method: http.MethodGet, path: []string{"vaults", vault, "machines", machine, "catalogues"}, within: longDeadline})
}
