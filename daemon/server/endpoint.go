package server

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// base is where everything lies.
const base = "/api/v1"

// endpoint is one thing that can be asked: I is what comes with the request, O the body of
// the answer.
type endpoint[I, O any] struct {
	id, method, path string // path below base
	tag              string
	summary, text    string
	may              access.Permission // the least that it takes, on some machine at least
	// needs lists what a request takes besides; nil: the body looks after it, because the
	// answer is filtered, say. It may be given a request that makes no sense.
	needs   func(in *I) []need
	audited bool          // each use leaves a line in the audit log
	limit   time.Duration // for the answer; 0: a minute
	request any           // an example of a body
	answer  O             // an example
	do      func(ctx context.Context, c *call, in *I) (O, error)
}

// call is one request on its way.
type call struct {
	s       *Server
	who     *access.Principal
	entry   api.AuditEntry           // what the audit log will say of it
	quiet   bool                     // it will not say that it was done, because it said so of the same a while ago
	known   map[string][]api.Machine // by vault, as Operations list them
	called  map[string][]api.Machine // by vault, of which ids and names are known
	swapped map[string]string        // names of machines, by the ids that took their place in the request
}

// reply is how the library wants a body.
type reply[O any] struct {
	CacheControl string `header:"Cache-Control"`
	Body         O
}

// add registers an endpoint. What it needs is asked before it is done, and what became of
// it goes into the audit log, here and nowhere else.
func add[I, O any](s *Server, e endpoint[I, O]) {
	op := operationOf(s, e.id, e.method, e.path, e.tag, e.summary, e.text, e.may)
	exampleBody(&op, e.request)
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*reply[O], error) {
		c := s.begin(ctx, e.id)
		ctx, cancel := context.WithTimeout(ctx, orDefault(e.limit, time.Minute))
		defer cancel()
		var out O
		err := run(func() error {
			if err := c.allowed(ctx, e.may, func() []need {
				if e.needs == nil {
					return nil
				}
				return e.needs(in)
			}); err != nil {
				return err
			}
			var err error
			out, err = e.do(ctx, c, in)
			return err
		}, func(err error) { c.end(e.audited, err) })
		if err != nil {
			return nil, failure{c.explain(err)}
		}
		return &reply[O]{CacheControl: "no-store", Body: out}, nil
	})
	exampleAnswer(s.api.OpenAPI(), op, e.answer)
}

// run calls do, and then said with how it ended, also when that was a panic, which goes on.
func run(do func() error, said func(error)) (err error) {
	err = errors.New("it failed in a way that nobody expected")
	defer func() { said(err) }()
	err = do()
	return err
}

func orDefault(d, usual time.Duration) time.Duration {
	if d == 0 {
		return usual
	}
	return d
}

// begin notes who asks for what.
func (s *Server) begin(ctx context.Context, id string) *call {
	who := callerOf(ctx)
	if arrived, ok := ctx.Value(arrivedKey).(func()); ok {
		arrived() // what it takes to do it is not the time that it takes to arrive
	}
	return &call{s: s, who: who, known: map[string][]api.Machine{}, called: map[string][]api.Machine{}, swapped: map[string]string{},
		entry: api.AuditEntry{Who: who.Name, From: who.From, Action: id, Said: api.PurposeOf(ctx)}}
}

// end writes what became of a call into the audit log, when that is asked for or it was
// refused.
func (c *call) end(audited bool, err error) {
	var refused *access.Refusal
	var p *api.Problem
	c.entry.Outcome = api.AuditDone
	switch {
	case errors.As(err, &refused), errors.As(err, &p) && p.Status == http.StatusForbidden:
		c.entry.Outcome, c.entry.Detail = api.AuditRefused, err.Error()
		c.s.refusals.Failed(c.who.Name)
	case !audited, err == nil && c.quiet:
		return
	case err != nil:
		c.entry.Outcome, c.entry.Detail = api.AuditFailed, c.explain(err).Detail
	}
	c.s.write(c.entry)
}

// explain turns an error into a problem to send. Machines whose ids took the place of their names are called by
// those: the caller knows no other, and may see them.
func (c *call) explain(err error) *api.Problem {
	p := c.s.explain(err)
	for id, name := range c.swapped {
		p.Detail, p.Hint = calledBy(p.Detail, id, name), calledBy(p.Hint, id, name)
	}
	return p
}

// calledBy replaces an id in a text, where it is a word, by a name.
func calledBy(text, id, name string) string {
	if id == name || !strings.Contains(text, id) {
		return text
	}
	return regexp.MustCompile(`\b`+regexp.QuoteMeta(id)+`\b`).ReplaceAllLiteralString(text, name)
}

// write adds to the audit log. What cannot be written there is at least in the other log.
func (s *Server) write(e api.AuditEntry) {
	if err := s.c.Audit.Append(e); err != nil {
		s.log.Error("a line of the audit log could not be written", "error", err, "who", e.Who, "from", e.From, "action", e.Action,
			"vault", e.Vault, "machine", e.Machine, "object", e.Object, "outcome", e.Outcome, "detail", e.Detail)
	}
}
