package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
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

// UnlockGuest opens encrypted volumes for the caller alone.
func (c *Client) UnlockGuest(ctx context.Context, at GuestAt, keys GuestKeys) (GuestVolumes, error) {
	return do[GuestVolumes](ctx, c, call{method: http.MethodPost, path: at.below("unlock"), body: keys, within: longDeadline})
}

// LockGuest ends what UnlockGuest began.
func (c *Client) LockGuest(ctx context.Context, at GuestAt) error {
	_, err := do[struct{}](ctx, c, call{method: http.MethodPost, path: at.below("lock")})
	return err
}

// ReadGuestFile returns the content of a file of a guest, or of one of its streams ("": its own content), from an
// offset on, to be closed. Only silence has a deadline. Where content is damaged, reading it fails.
func (c *Client) ReadGuestFile(ctx context.Context, at GuestAt, stream string, offset int64) (io.ReadCloser, error) {
	q := at.query()
	if stream != "" {
		q.Set("stream", stream)
	}
	r := call{method: http.MethodGet, path: at.below("files", "content"), query: q}
	if offset > 0 {
		r.header = map[string]string{"Range": "bytes=" + strconv.FormatInt(offset, 10) + "-"}
	}
	resp, err := c.lasting(ctx, r, usualDeadline)
	if err != nil {
		return nil, err
	}
	if got := resp.Header.Get("Content-Range"); offset > 0 && (resp.StatusCode != http.StatusPartialContent || !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", offset))) {
		resp.Body.Close()
		return nil, c.broken(ctx, fmt.Errorf("it sent another range than was asked for: %.60q", got))
	}
	return resp.Body, nil
}

// ReadGuestArchive returns an archive, [Tar] or [Zip], of a folder or file of a guest, to be closed. Only silence has a
// deadline. failed tells, when all of it was read, how many paths were not taken as they are: the archive ends with a list of them then; -1: it was not read to its end.
func (c *Client) ReadGuestArchive(ctx context.Context, at GuestAt, format string) (archive io.ReadCloser, failed func() int64, err error) {
	q := at.query()
	q.Set("format", format)
	resp, err := c.lasting(ctx, call{method: http.MethodGet, path: at.below("files", "archive"), query: q}, usualDeadline)
	if err != nil {
		return nil, nil, err
	}
	return resp.Body, func() int64 {
		n, err := strconv.ParseInt(resp.Trailer.Get(ProblemsTrailer), 10, 64)
		if err != nil {
			return -1
		}
		return n
	}, nil
}

// ProblemsTrailer is the header behind an archive that says how many paths were not taken as they are.
const ProblemsTrailer = "Holdfast-Problems"
