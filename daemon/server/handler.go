package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

type ctxKey int

const (
	callerKey  ctxKey = iota // *access.Principal of a request
	peerKey                  // peer of a connection
	arrivedKey               // func() to be called when a request has arrived
)

// peer is who is at the other end of a connection: of a Unix socket an identity, else nobody
// who is known yet.
type peer struct {
	local bool
	id    access.Identity
	hand  *handover // nil: no open files are taken from it
}

func callerOf(ctx context.Context) *access.Principal {
	if who, ok := ctx.Value(callerKey).(*access.Principal); ok {
		return who
	}
	return &access.Principal{Name: "nobody"} // may nothing
}

// ServeHTTP answers one request: its bounds, who asks, then what is asked.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &writer{ResponseWriter: w, stall: s.limits.Stall}
	defer s.recovered(out, r)
	if p, ok := r.Context().Value(peerKey).(peer); ok && p.hand != nil {
		defer p.hand.drop()
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	rc := http.NewResponseController(out)
	rc.SetReadDeadline(time.Now().Add(s.limits.Arrive))
	hasBody := r.ContentLength != 0
	if hasBody && r.Method != http.MethodPost && r.Method != http.MethodPut {
		w.Header().Set("Connection", "close") // nobody reads that body
		send(out, badRequest(http.StatusBadRequest, r.Method+" takes no body", ""))
		return
	}
	who, p := s.authenticate(out, r)
	if p != nil {
		w.Header().Set("Connection", "close")
		if p.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="holdfast"`)
		}
		send(out, p)
		return
	}
	if wait := s.refusals.Wait(who.Name); wait > 0 {
		send(out, tooMany(out, wait, "too much was refused to "+who.Name))
		return
	}
	if !hasBody {
		rc.SetReadDeadline(time.Time{}) // else whatever lasts would end with it
	}
	ctx := context.WithValue(api.WithCaller(r.Context(), api.Caller{Name: who.Name, Trusted: who.Trusted, PID: who.PID}), callerKey, who)
	if words := r.Header.Get(api.PurposeHeader); words != "" {
		ctx = api.WithPurpose(ctx, api.ReadPurpose(words))
	}
	ctx = context.WithValue(ctx, arrivedKey, func() { rc.SetReadDeadline(time.Time{}) })
	s.dispatch(out, r.WithContext(ctx))
}

// authenticate tells who asks: the peer of a Unix socket, or the bearer of a token.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) (*access.Principal, *api.Problem) {
	if p, ok := r.Context().Value(peerKey).(peer); ok && p.local {
		return s.c.Access.Peer(p.id), nil
	}
	source := access.Source(r.RemoteAddr)
	if wait := s.logins.Wait(source); wait > 0 {
		return nil, tooMany(w, wait, "too many logins failed from "+source)
	}
	kind, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") {
		return nil, finish(api.Problem{Status: http.StatusUnauthorized, Exit: exitRefused, Kind: kindNoLogin,
			Detail: "a token is needed: Authorization: Bearer TOKEN", Hint: "an admin makes one with `holdfast token create NAME`"}, "")
	}
	who, err := s.c.Access.Bearer(strings.TrimSpace(secret), r.RemoteAddr)
	if err != nil {
		s.logins.Failed(source)
		s.log.Warn("a login failed", "from", r.RemoteAddr)
		return nil, s.explain(err)
	}
	return who, nil
}

// tooMany says that somebody has to wait.
func tooMany(w http.ResponseWriter, wait time.Duration, why string) *api.Problem {
	seconds := int(wait/time.Second) + 1
	if w != nil {
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
	}
	return finish(api.Problem{Status: http.StatusTooManyRequests, Exit: exitBusy, Kind: kindTooMany, Detail: why,
		Hint: fmt.Sprintf("try again in %d seconds", seconds)}, "")
}

// dispatch finds the endpoint. Where there is none, the answer is a problem like any other.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	_, pattern := s.mux.Handler(r)
	if pattern == "" {
		var probe discard
		s.mux.ServeHTTP(&probe, r)
		if allow := probe.Header().Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			send(w, badRequest(http.StatusMethodNotAllowed, "this takes "+allow, ""))
			return
		}
		send(w, finish(api.Problem{Status: http.StatusNotFound, Exit: exitNotFound, Kind: kindNotFound,
			Detail: "there is nothing at this address", Hint: "GET " + base + "/openapi.json lists what there is"}, ""))
		return
	}
	if r.Method == http.MethodHead && !strings.HasSuffix(pattern, "/{disk}") && !strings.HasSuffix(pattern, "/files/content") {
		w.Header().Set("Allow", http.MethodGet)
		send(w, badRequest(http.StatusMethodNotAllowed, "this takes GET", ""))
		return
	}
	s.mux.ServeHTTP(w, r)
}

// recovered ends a request that panicked, and that alone.
func (s *Server) recovered(w *writer, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v) // the way to break a connection off
	}
	if w.broken {
		return // the client is gone, and what was writing to it said so this way
	}
	s.log.Error("a request ended in a panic", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if w.began {
		panic(http.ErrAbortHandler) // half an answer must not look whole
	}
	send(w, finish(api.Problem{Status: http.StatusInternalServerError, Exit: exitFailed, Kind: kindInternal,
		Detail: "the daemon failed in a way that nobody expected", Hint: "its log tells more (journalctl -u holdfast)"}, ""))
}

// discard takes headers, and nothing else.
type discard struct{ h http.Header }

func (d *discard) Header() http.Header {
	if d.h == nil {
		d.h = http.Header{}
	}
	return d.h
}
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}
