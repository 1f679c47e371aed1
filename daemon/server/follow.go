package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// stream is an answer that the function writes itself.
type stream struct{ Body func(huma.Context) }

// registerFollow adds the events of a job.
func (s *Server) registerFollow() {
	op := operationOf(s, "follow-job", http.MethodGet, "/jobs/{job}/events", "jobs", "Follow a job",
		"How the job stands, at once and whenever that changes, as server-sent events until it is over. The data of an event `job` is a JobEvent; "+
			"an event `end` closes a whole stream, and an event `problem` holds a Problem. Lines that begin with a colon are signs of life.", access.See)
	op.Responses["200"] = &huma.Response{Description: "Events.", Content: map[string]*huma.MediaType{"text/event-stream": {
		Schema:  s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.JobEvent](), true, "JobEvent"),
		Example: "event: job\ndata: {\"job\":{\"id\":\"j01c7p2q9\",\"state\":\"running\"}}\n\nevent: end\ndata: {}\n\n"}}}
	huma.Register(s.api, op, func(ctx context.Context, in *jobIn) (*stream, error) {
		c := s.begin(ctx, "follow-job")
		err := c.allowed(ctx, access.See, func() []need { return nil })
		if err == nil {
			_, err = c.job(ctx, in.Job)
		}
		c.end(false, err)
		if err != nil {
			return nil, failure{c.explain(err)}
		}
		ended, leave, ok := s.follow.enter(c.who.Name)
		if !ok {
			return nil, failure{tooMany(nil, s.limits.Beat, "too many follow jobs already")}
		}
		return &stream{func(hc huma.Context) {
			defer leave()
			s.events(hc, ended, c, in.Job)
		}}, nil
	})
}

// events writes the events of a job until it is over, the client is gone, or some time after ended is closed: who
// follows a job that ends because the server does is told so. It waits for the function that follows.
func (s *Server) events(hc huma.Context, ended <-chan struct{}, c *call, id string) {
	hc.SetHeader("Content-Type", "text/event-stream")
	hc.SetHeader("Cache-Control", "no-store")
	hc.SetStatus(http.StatusOK)
	ctx, cancel := context.WithCancel(hc.Context())
	news, over := make(chan api.JobEvent), make(chan error, 1)
	go func() {
		over <- s.c.Operations.Follow(ctx, id, func(e api.JobEvent) error {
			select {
			case news <- e:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}()
	waited := false
	defer func() {
		cancel()
		if !waited {
			<-over
		}
	}()
	beat := time.NewTicker(s.limits.Beat)
	defer beat.Stop()
	if flush(hc) != nil {
		return
	}
	var farewell <-chan time.Time
	for {
		var err error
		select {
		case e := <-news:
			if !c.again() || !c.seesJob(&e.Job) {
				return // it belongs to another machine now
			}
			if !c.who.MayAll(access.Names) && (e.Job.Machine == "" || !c.who.May(access.Names, e.Job.Machine)) {
				e.Log = nil
			}
			err = event(hc, "job", e)
		case err := <-over:
			waited = true
			if err != nil && ctx.Err() == nil {
				event(hc, "problem", c.explain(err))
			} else if err == nil {
				event(hc, "end", done{})
			}
			return
		case <-beat.C:
			if err = say(hc, ": \n\n"); !c.again() {
				return
			}
		case <-ended:
			timer := time.NewTimer(s.limits.Farewell)
			defer timer.Stop()
			ended, farewell = nil, timer.C
		case <-farewell:
			return
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// again brings up to date what the caller may; false: it is nobody any more.
func (c *call) again() bool {
	who, err := c.s.c.Access.Again(c.who)
	if err == nil {
		c.who = who
	}
	return err == nil
}

// event writes one event.
func event(hc huma.Context, name string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return say(hc, fmt.Sprintf("event: %s\ndata: %s\n\n", name, b))
}

// say writes text, and sends it.
func say(hc huma.Context, text string) error {
	if _, err := hc.BodyWriter().Write([]byte(text)); err != nil {
		return err
	}
	return flush(hc)
}

func flush(hc huma.Context) error {
	if f, ok := hc.BodyWriter().(interface{ FlushError() error }); ok {
		return f.FlushError()
	}
	return nil
}
