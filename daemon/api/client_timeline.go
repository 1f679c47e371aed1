package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

var _ Timeline = (*Client)(nil)

// longestLine is the most that one line of a history or a comparison can be, in bytes.
const longestLine = 64 << 20

// GuestHistory tells what became of a path over the points of a machine.
func (c *Client) GuestHistory(ctx context.Context, q HistoryQuery, progress func(done, total int64)) (h FileHistory, err error) {
	query := values("volume", q.Volume, "path", q.Path, "since", stamp(q.Since), "until", stamp(q.Until), "no_checksum", flag(q.NoSums))
	r := call{method: http.MethodGet, path: []string{"vaults", q.Vault, "machines", q.Machine, "history"}, query: query}
	err = c.timeline(ctx, r, func(l *TimelineLine) (end bool, err error) {
		if l.History != nil {
			h = *l.History
		} else if progress != nil && l.Done > 0 {
			progress(l.Done, l.Total)
		}
		return l.History != nil, nil
	})
	return h, err
}

// GuestDiff calls fn for each path that two places do not have alike.
func (c *Client) GuestDiff(ctx context.Context, q DiffQuery, fn func(FileDiff) error, progress func(done int64)) (d FilesDiff, err error) {
	query := q.A.query()
	for name, value := range map[string]string{"with_machine": q.B.Machine, "with_point": q.B.Point, "with_volume": q.B.Volume, "with_path": q.B.Path, "content": flag(q.Content)} {
		if value != "" {
			query.Set(name, value)
		}
	}
	err = c.timeline(ctx, call{method: http.MethodGet, path: q.A.below("files", "diff"), query: query}, func(l *TimelineLine) (end bool, err error) {
		switch {
		case l.File != nil:
			err = fn(*l.File)
		case l.Diff != nil:
			d = *l.Diff
		case progress != nil && l.Done > 0:
			progress(l.Done)
		}
		return l.Diff != nil, err
	})
	return d, err
}

// timeline hands on lines until take says that one is the end.
func (c *Client) timeline(ctx context.Context, r call, take func(*TimelineLine) (end bool, err error)) error {
	resp, err := c.lasting(ctx, r, longDeadline)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	in := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		line, err := readLine(in, longestLine)
		if err != nil {
			return c.broken(ctx, err)
		}
		var l TimelineLine
		if err := json.Unmarshal(line, &l); err != nil {
			return c.broken(ctx, errors.New("a line of its answer makes no sense"))
		}
		if l.Problem != nil {
			return l.Problem
		}
		if end, err := take(&l); end || err != nil {
			return err
		}
	}
}
