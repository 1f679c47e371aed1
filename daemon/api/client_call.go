package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// call is one request.
type call struct {
	method string
	path   []string // below /api/v1, not escaped
	query  url.Values
	body   any // nil: none
	header map[string]string
	within time.Duration // 0: the usual time
}

// request makes a request of c.
func (c *Client) request(ctx context.Context, r call) (*http.Request, error) {
	at := strings.Builder{}
	at.WriteString(c.base + "/api/v1")
	for _, part := range r.path {
		if part == "" || part == "." || part == ".." {
			return nil, &Problem{Status: 422, Exit: 2, Kind: "bad-request", Detail: fmt.Sprintf("%q names nothing", part)}
		}
		at.WriteString("/" + url.PathEscape(part))
	}
	if len(r.query) > 0 {
		at.WriteString("?" + r.query.Encode())
	}
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("ask the daemon: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, at.String(), body)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	if words := PurposeOf(ctx); words != "" {
		req.Header.Set(PurposeHeader, escapePurpose(words))
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// send sends a request and returns an answer of success, whose body is to be closed.
func (c *Client) send(ctx context.Context, r call) (*http.Response, error) {
	req, err := c.request(ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.problem(resp)
}

// broken is the error of a request or an answer that broke off.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errDeadline) {
		return fmt.Errorf("ask the daemon at %s: %w", c.where, context.Cause(ctx))
	}
	return fmt.Errorf("%w at %s: %w", ErrUnreachable, c.where, err)
}

// problem reads what was wrong out of an answer.
func (c *Client) problem(resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, largestProblem))
	var p Problem
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") && err == nil && json.Unmarshal(b, &p) == nil && p.Detail != "" {
		p.Status = resp.StatusCode
		return &p
	}
	return &Problem{Status: resp.StatusCode, Exit: 1, Kind: "unexpected",
		Detail: fmt.Sprintf("%s answered %s: that is no daemon of holdfast, or something stands before it", c.where, resp.Status)}
}

// errDeadline is the cause of a call that took too long.
var errDeadline = fmt.Errorf("it took too long: %w", context.DeadlineExceeded)

// errLarge says that an answer is larger than any should be.
var errLarge = errors.New("the answer is larger than any should be")

// do sends a request and decodes the answer.
func do[T any](ctx context.Context, c *Client, r call) (T, error) {
	var answer T
	if r.within == 0 {
		r.within = usualDeadline
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.within, errDeadline)
	defer cancel()
	resp, err := c.send(ctx, r)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	body := &bounded{r: resp.Body, left: largestAnswer}
	d := json.NewDecoder(body)
	if err := d.Decode(&answer); err != nil {
		var zero T
		return zero, c.broken(ctx, fmt.Errorf("read its answer: %w", err))
	}
	io.Copy(io.Discard, io.LimitReader(body, 4096)) // so that the connection is used again
	return answer, nil
}

// list is do for a list, which is never nil.
func list[T any](ctx context.Context, c *Client, r call) ([]T, error) {
	l, err := do[[]T](ctx, c, r)
	if l == nil && err == nil {
		l = []T{}
	}
	return l, err
}

// bounded fails when more is read from r than should be.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLarge
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// values makes a query of pairs of name and value; empty values are left out.
func values(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Add(pairs[i], pairs[i+1])
		}
	}
	return v
}

// stamp writes a time for a query; "" for none.
func stamp(t *Time) string {
	if t == nil {
		return ""
	}
	b, _ := t.MarshalText() // never fails
	return string(b)
}
