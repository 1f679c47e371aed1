package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// largestConfig is the most that one file of a configuration can be, in bytes.
const largestConfig = 256 << 20

func diskPath(vault, machine, point, disk string, more ...string) []string {
	return append([]string{"vaults", vault, "machines", machine, "points", point, "disks", disk}, more...)
}

// DiskContent reads a disk of a point, length bytes from offset on, or all from there where
// length is negative. The reader is to be closed; it fails when the vault is damaged there.
func (c *Client) DiskContent(ctx context.Context, vault, machine, point, disk string, offset, length int64) (io.ReadCloser, error) {
	if offset < 0 || length == 0 {
		return nil, fmt.Errorf("read disk %s: %d bytes from %d on are none", disk, length, offset)
	}
	want := "bytes=" + strconv.FormatInt(offset, 10) + "-"
	if length > 0 {
		want += strconv.FormatInt(offset+length-1, 10)
	}
	resp, err := c.lasting(ctx, call{method: http.MethodGet, header: map[string]string{"Range": want}, path: diskPath(vault, machine, point, disk)}, usualDeadline)
	if err != nil {
		return nil, err
	}
	if got := resp.Header.Get("Content-Range"); resp.StatusCode != http.StatusPartialContent || !startsAt(got, offset) {
		resp.Body.Close()
		return nil, c.broken(ctx, fmt.Errorf("it sent another range than was asked for: %.60q", got))
	}
	return resp.Body, nil
}

func startsAt(contentRange string, offset int64) bool {
	var first, last int64
	n, err := fmt.Sscanf(contentRange, "bytes %d-%d/", &first, &last)
	return err == nil && n == 2 && first == offset && last >= first
}

// DiskMap tells which ranges of a disk hold data, from an offset on: the rest are zeros. An
// answer need not be the whole of it: see [DiskRanges].
func (c *Client) DiskMap(ctx context.Context, vault, machine, point, disk string, offset int64) (DiskRanges, error) {
	m, err := do[DiskRanges](ctx, c, call{method: http.MethodGet, path: diskPath(vault, machine, point, disk, "map"),
		query: url.Values{"offset": {strconv.FormatInt(offset, 10)}}})
	if err != nil {
		return m, err
	}
	return m, m.check(offset)
}

// check refuses ranges that are not as they are promised.
func (m *DiskRanges) check(offset int64) error {
	at := offset
	for _, r := range m.Ranges {
		if r.Length <= 0 || r.Offset < at || r.Offset > m.Until || r.Length > m.Until-r.Offset {
			return fmt.Errorf("the daemon's map of a disk makes no sense: %d bytes at %d, where %d came before", r.Length, r.Offset, at)
		}
		at = r.Offset + r.Length
	}
	if m.Until > m.Size || m.Until <= offset && m.Until < m.Size {
		return fmt.Errorf("the daemon's map of a disk makes no sense: it goes from %d to %d of %d bytes", offset, m.Until, m.Size)
	}
	return nil
}

// CompareDisk calls fn for each range in which a disk differs between two points, of one machine or
// of two, ascending and in whole blocks.
func (c *Client) CompareDisk(ctx context.Context, vault string, a, b PointRef, disk string, fn func(Range) error) error {
	resp, err := c.lasting(ctx, call{method: http.MethodGet, path: diskPath(vault, a.Machine, a.Point, disk, "diff"),
		query: values("machine", b.Machine, "point", b.Point)}, longDeadline)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	r := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		line, err := readLine(r, largestProblem)
		if err != nil {
			return c.broken(ctx, err)
		}
		if len(line) == 0 {
			continue
		}
		var said DiskDifference
		if err := json.Unmarshal(line, &said); err != nil {
			return c.broken(ctx, errors.New("a line of its answer makes no sense"))
		}
		switch {
		case said.Problem != nil:
			return said.Problem
		case said.End:
			return nil
		case said.Range == nil || said.Length <= 0:
			return c.broken(ctx, errors.New("a line of its answer makes no sense"))
		}
		if err := fn(*said.Range); err != nil {
			return err
		}
	}
}

// ReadConfig reads one file of the configuration that a point holds.
func (c *Client) ReadConfig(ctx context.Context, vault, machine, point, name string) ([]byte, error) {
	resp, err := c.lasting(ctx, call{method: http.MethodGet, path: []string{"vaults", vault, "machines", machine, "points", point, "config", name}}, usualDeadline)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(&bounded{r: resp.Body, left: largestConfig + 1})
	if err != nil {
		return nil, c.broken(ctx, fmt.Errorf("read its answer: %w", err))
	}
	return b, nil
}
