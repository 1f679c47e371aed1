package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// watched is the body of an answer that lasts. Reading it fails when nothing came for a while.
type watched struct {
	io.ReadCloser
	after time.Duration
	timer *time.Timer
}

// lasting sends a request whose answer lasts. The answer is to be closed; silence, of the
// answer's beginning too, ends it. within bounds how long it may take to begin.
func (c *Client) lasting(ctx context.Context, r call, within time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(within, func() { cancel(errDeadline) })
	resp, err := c.send(ctx, r)
	if err != nil {
		timer.Stop()
		cancel(nil)
		return nil, err
	}
	timer.Reset(c.silent)
	resp.Body = &watched{ReadCloser: closing{resp.Body, func() { timer.Stop(); cancel(nil) }}, after: c.silent, timer: timer}
	return resp, nil
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	w.timer.Reset(w.after)
	return n, err
}

// closing does more when it is closed.
type closing struct {
	io.ReadCloser
	then func()
}

func (c closing) Close() error {
	c.then() // first: closing waits for what is on its way
	return c.ReadCloser.Close()
}

// errStopped wraps the error of the function that was called with an event.
type errStopped struct{ error }

// Follow calls fn with how a job stands, until it is over. When the connection breaks it is
// made again, for a minute from the last event on; fn is then called with how the job stands by then, and may miss
// lines of its log.
func (c *Client) Follow(ctx context.Context, id string, fn func(JobEvent) error) error {
	lost := time.Time{}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		heard, err := c.followOnce(ctx, id, fn)
		var stopped errStopped
		var p *Problem
		switch {
		case err == nil:
			return nil
		case errors.As(err, &stopped):
			return stopped.error
		case errors.As(err, &p) && (heard || !passing(p.Status)):
			return err
		case ctx.Err() != nil:
			return err
		}
		if heard || lost.IsZero() {
			lost, pause = time.Now(), 100*time.Millisecond
		}
		if time.Since(lost) > c.again {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return c.broken(ctx, ctx.Err())
		}
	}
}

// passing tells whether a status of HTTP says that it is worth asking again.
func passing(status int) bool {
	return status == http.StatusTooManyRequests || status >= http.StatusBadGateway && status <= http.StatusGatewayTimeout
}

// followOnce follows a job over one connection; heard tells whether an event came.
func (c *Client) followOnce(ctx context.Context, id string, fn func(JobEvent) error) (heard bool, err error) {
	resp, err := c.lasting(ctx, call{method: http.MethodGet, path: []string{"jobs", id, "events"}}, usualDeadline)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	r := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		name, data, err := nextEvent(r)
		if err != nil {
			return heard, c.broken(ctx, err)
		}
		switch name {
		case "job":
			var e JobEvent
			if err := json.Unmarshal(data, &e); err != nil {
				return heard, c.broken(ctx, fmt.Errorf("an event makes no sense: %w", err))
			}
			heard = true
			if err := fn(e); err != nil {
				return heard, errStopped{err}
			}
		case "problem":
			var p Problem
			if json.Unmarshal(data, &p) != nil || p.Detail == "" {
				return heard, c.broken(ctx, errors.New("an event makes no sense"))
			}
			return heard, &p
		case "end":
			return heard, nil
		}
	}
}

// nextEvent reads one server-sent event.
func nextEvent(r *bufio.Reader) (name string, data []byte, err error) {
	left := largestEvent
	for {
		line, err := readLine(r, left)
		if err != nil {
			return "", nil, err
		}
		left -= len(line) + 1
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0:
			if name != "" || len(data) > 0 {
				return name, data, nil
			}
			left = largestEvent
		case string(field) == "event":
			name = string(value)
		case string(field) == "data":
			data = append(append(data, value...), '\n')
		}
	}
}

// readLine reads a line of bounded length, without its end.
func readLine(r *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > most {
			return nil, errLarge
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
}

// Lend has the daemon give up a vault, so that this process can be its owner, until release is
// called or ctx ends. It waits for jobs of the daemon to end, or is a [*Problem] that names them.
// Should the daemon end meanwhile, the vault is nobody's, and the owner's lock decides.
func (c *Client) Lend(ctx context.Context, vault string) (release func(), err error) {
	resp, err := c.lasting(ctx, call{method: http.MethodPost, path: []string{"vaults", vault, "lend"}}, longDeadline)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(resp.Body)
	if line, err := readLine(r, 4096); err != nil || !json.Valid(line) {
		resp.Body.Close()
		return nil, c.broken(ctx, errors.Join(errors.New("the loan ended before it began"), err))
	}
	over := make(chan struct{})
	go func() { // ends when the body is closed, which release does
		defer close(over)
		io.Copy(io.Discard, r)
	}()
	return sync.OnceFunc(func() {
		resp.Body.Close()
		<-over
	}), nil
}
