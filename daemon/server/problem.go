package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Kinds of problems that arise here.
const (
	kindNotGranted = "not-granted"
	kindNoLogin    = "not-logged-in"
	kindTooMany    = "too-many"
	kindRequest    = "bad-request"
	kindNotFound   = "not-found"
	kindInternal   = "unexpected"
)

// Exit codes of commands, as JSON.md has them.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitBusy     = 5
	exitNotFound = 6
	exitRefused  = 8
)

// failure is a problem as the library sends it.
type failure struct{ *api.Problem }

// GetStatus is the status of HTTP.
func (f failure) GetStatus() int { return f.Status }

// GetHeaders says when to ask again, of what is too many.
func (f failure) GetHeaders() http.Header {
	if f.Status == http.StatusTooManyRequests {
		return http.Header{"Retry-After": {"10"}}
	}
	return nil
}

// MarshalJSON writes the problem alone.
func (f failure) MarshalJSON() ([]byte, error) { return json.Marshal(f.Problem) }

// ContentType is that of RFC 9457.
func (f failure) ContentType(string) string { return "application/problem+json" }

// explain turns any error into a problem to send.
func (s *Server) explain(err error) *api.Problem {
	var (
		known   *api.Problem
		refused *access.Refusal
		sent    failure
	)
	switch {
	case errors.As(err, &sent):
		return finish(*sent.Problem, "")
	case errors.As(err, &known):
		return finish(*known, err.Error())
	case errors.As(err, &refused):
		return finish(api.Problem{Status: http.StatusForbidden, Exit: exitRefused, Kind: kindNotGranted,
			Hint: "an admin of the daemon can grant it: `" + refused.Command() + "`"}, err.Error())
	case errors.Is(err, access.ErrNotFound):
		return finish(api.Problem{Status: http.StatusNotFound, Exit: exitNotFound, Kind: kindNotFound}, err.Error())
	case errors.Is(err, access.ErrExists):
		return finish(api.Problem{Status: http.StatusConflict, Exit: exitFailed}, err.Error())
	case errors.Is(err, access.ErrLogin):
		return finish(api.Problem{Status: http.StatusUnauthorized, Exit: exitRefused, Kind: kindNoLogin,
			Hint: "an admin makes one with `holdfast token create NAME`"}, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return finish(api.Problem{Status: http.StatusGatewayTimeout, Exit: exitFailed, Kind: "timeout"}, err.Error())
	}
	if s.c.Explain != nil {
		if p := s.c.Explain(err); p != nil {
			return finish(*p, err.Error())
		}
	}
	return finish(api.Problem{Status: http.StatusInternalServerError, Exit: exitFailed}, err.Error())
}

// finish fills in what a problem lacks.
func finish(p api.Problem, detail string) *api.Problem {
	if p.Status < 400 || p.Status > 599 {
		p.Status = statusOf(p.Exit)
	}
	if p.Exit == 0 {
		p.Exit = exitFailed
	}
	if p.Detail == "" {
		p.Detail = detail
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	p.Detail = strings.ToValidUTF8(p.Detail, "\uFFFD")
	return &p
}

// statusOf is the status of HTTP for an exit code.
func statusOf(exit int) int {
	switch exit {
	case exitUsage:
		return http.StatusUnprocessableEntity
	case exitBusy:
		return http.StatusConflict
	case exitNotFound:
		return http.StatusNotFound
	case 7: // the vault is full
		return http.StatusInsufficientStorage
	case exitRefused:
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}

// badRequest says that a request makes no sense.
func badRequest(status int, detail, hint string) *api.Problem {
	return finish(api.Problem{Status: status, Exit: exitUsage, Kind: kindRequest, Detail: detail, Hint: hint}, "")
}

// send answers with a problem, outside of the library.
func send(w http.ResponseWriter, p *api.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) // a client that is gone needs no answer
}

// ourProblems turns what the library says of requests that it refuses into problems of
// ours, without what the client sent in them.
func ourProblems(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := badRequest(m.Status, m.Detail, "")
	if m.Status >= 500 {
		p.Exit, p.Kind = exitFailed, kindInternal
	}
	var more []string
	for _, e := range m.Errors {
		if len(more) == 8 {
			more = append(more, "...")
			break
		}
		more = append(more, strings.TrimSpace(e.Location+" "+firstBytes(e.Message, 200)))
	}
	if len(more) > 0 {
		p.Detail += ": " + strings.Join(more, "; ")
	}
	return failure{p}, nil
}

func firstBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}
