package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

var _ Files = (*Client)(nil)

// below is the path to what is asked of the guest of a point.
func (at *GuestAt) below(what ...string) []string {
	return append([]string{"vaults", at.Vault, "machines", at.Machine, "points", at.Point}, what...)
}

// query names a place in the guest.
func (at *GuestAt) query() url.Values {
	return values("volume", at.Volume, "path", at.Path, "no_follow", flag(at.NoFollow))
}

// GuestVolumes lists what lies on the disks of a point.
func (c *Client) GuestVolumes(ctx context.Context, at GuestAt) (GuestVolumes, error) {
	return do[GuestVolumes](ctx, c, call{method: http.MethodGet, path: at.below("volumes")})
}

// GuestFolder lists a folder, a page at a time.
func (c *Client) GuestFolder(ctx context.Context, at GuestAt, page FolderPage) (GuestFolder, error) {
	q := at.query()
	if page.After != "" {
		q.Set("after", page.After)
	}
	if page.Limit > 0 {
		q.Set("limit", strconv.Itoa(page.Limit))
	}
	return do[GuestFolder](ctx, c, call{method: http.MethodGet, path: at.below("files"), query: q})
}

// GuestFile describes one file or folder.
func (c *Client) GuestFile(ctx context.Context, at GuestAt) (GuestFile, error) {
	return do[GuestFile](ctx, c, call{method: http.MethodGet, path: at.below("files", "stat"), query: at.query()})
}
