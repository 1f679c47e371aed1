package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

type historyIn struct {
	MachineIn
	Volume string `query:"volume" maxLength:"256" doc:"The volume that the path lies in, by its name; missing: the guest's root, put together from its fstab." example:"vda1"`
	Path   string `query:"path" required:"true" minLength:"1" maxLength:"16384" doc:"The path, percent-encoded byte by byte. Links are followed within the guest." example:"/etc/passwd"`
	Since  string `query:"since" format:"date-time" doc:"Only points from then on." example:"2026-11-01T00:00:00Z"`
	Until  string `query:"until" format:"date-time" doc:"Only points up to then." example:"2026-11-22T22:00:05Z"`
	NoSums bool   `query:"no_checksum" doc:"Without checksums: files that changed need not be read as a whole."`
}

// Resolve refuses what no guest has.
func (in *historyIn) Resolve(ctx huma.Context) []error {
	at := GuestIn{PointIn: PointIn{MachineIn: in.MachineIn}, Volume: in.Volume, Path: in.Path}
	return at.Resolve(ctx)
}

var _ huma.Resolver = (*historyIn)(nil)

type diffIn struct {
	GuestIn
	WithMachine string `query:"with_machine" required:"true" pattern:"^[A-Za-z0-9._+-]{1,64}$" patternDescription:"a name or id of a machine" doc:"Name or id of the other point's machine." example:"web1"`
	WithPoint   string `query:"with_point" required:"true" pattern:"^[A-Za-z0-9:._+-]{1,64}$" patternDescription:"an id or time of a point, or latest" doc:"The other point's id, its time, or latest." example:"latest"`
	WithVolume  string `query:"with_volume" maxLength:"256" doc:"The volume that the other path lies in; missing: the guest's root." example:"vda1"`
	WithPath    string `query:"with_path" maxLength:"16384" doc:"The other path. Missing: the top." example:"/etc"`
	Content     bool   `query:"content" doc:"Texts that differ are compared line by line."`
}

// Resolve refuses what no guest has.
func (in *diffIn) Resolve(ctx huma.Context) []error {
	other := GuestIn{PointIn: in.PointIn, Volume: in.WithVolume, Path: in.WithPath}
	return append(in.GuestIn.Resolve(ctx), other.Resolve(ctx)...)
}

var _ huma.Resolver = (*diffIn)(nil)

// timelines are how many histories and comparisons are worked at.
const timelines = 8

// registerTimeline adds what is asked of files over several points. The answers are lines, since they last.
func (s *Server) registerTimeline() {
	s.over.most = timelines
	op := operationOf(s, "file-history", http.MethodGet, "/vaults/{vault}/machines/{machine}/history", "files", "Tell the versions of a file",
		"What became of a path of a guest over the points of its machine. Lines of the answer say how far it has come; the last holds the history, or the problem for which there is none. "+
			"Blocks that the maps prove to be the same are not read again.", access.Read)
	answersLines(s, &op, `{"history":{"machine":"web1","path":"/etc/passwd","points":1,"versions":[],"warnings":[]}}`)
	huma.Register(s.api, op, func(ctx context.Context, in *historyIn) (*stream, error) {
		q := api.HistoryQuery{Vault: in.Vault, Machine: in.Machine, Volume: in.Volume, Path: in.Path, NoSums: in.NoSums}
		c := s.begin(ctx, "file-history")
		c.entry.Object = guestObject(api.GuestAt{PointRef: api.PointRef{Point: "all"}, Volume: in.Volume, Path: in.Path})
		leave, err := c.mayCross(ctx, func() []need { return onMachine(access.Read, in.Vault, &in.Machine) })
		if err == nil {
			err = bounds(&q, in)
		}
		c.end(true, err)
		if err != nil {
			leave()
			return nil, failure{c.explain(err)}
		}
		q.Machine = in.Machine
		return &stream{func(hc huma.Context) {
			defer leave()
			s.lines(hc, c, func(ctx context.Context, say func(api.TimelineLine) error, at func(done, total int64)) error {
				h, err := s.timeline().GuestHistory(ctx, q, at)
				if err != nil {
					return err
				}
				return say(api.TimelineLine{History: &h})
			})
		}}, nil
	})

	op = operationOf(s, "compare-files", http.MethodGet, ofPoint+"/files/diff", "files", "Say which files differ between two points",
		"Each line of the answer is a path that differs, sorted by path, or says how far it has come; the last holds the numbers, or the problem for which there is no end. "+
			"It takes the permission for both machines.", access.Read)
	answersLines(s, &op, `{"file":{"change":"removed","path":"/etc/old.conf","details":[]}}`)
	huma.Register(s.api, op, func(ctx context.Context, in *diffIn) (*stream, error) {
		c := s.begin(ctx, "compare-files")
		with := api.GuestAt{Vault: in.Vault, PointRef: api.PointRef{Machine: in.WithMachine, Point: in.WithPoint}, Volume: in.WithVolume, Path: in.WithPath}
		c.entry.Object = guestObject(in.at()) + " with " + in.WithMachine + " " + guestObject(with)
		leave, err := c.mayCross(ctx, func() []need {
			return append(onMachine(access.Read, in.Vault, &in.Machine), onMachine(access.Read, in.Vault, &in.WithMachine)...)
		})
		c.end(true, err)
		if err != nil {
			leave()
			return nil, failure{c.explain(err)}
		}
		with.Machine = in.WithMachine
		q := api.DiffQuery{A: in.at(), B: with, Content: in.Content}
		return &stream{func(hc huma.Context) {
			defer leave()
			s.lines(hc, c, func(ctx context.Context, say func(api.TimelineLine) error, at func(done, total int64)) error {
				d, err := s.timeline().GuestDiff(ctx, q, func(f api.FileDiff) error { return say(api.TimelineLine{File: &f}) }, func(n int64) { at(n, 0) })
				if err != nil {
					return err
				}
				return say(api.TimelineLine{Diff: &d})
			})
		}}, nil
	})
}

func (s *Server) timeline() api.Timeline {
	t, _ := s.c.Files.(api.Timeline)
	return t
}

// mayCross lets the caller in, if it may and there is room. leave is to be called in any case.
func (c *call) mayCross(ctx context.Context, needs func() []need) (leave func(), err error) {
	if err := c.allowed(ctx, access.Read, needs); err != nil {
		return func() {}, err
	}
	if c.s.timeline() == nil {
		return func() {}, notServed("files over several points")
	}
	_, leave, ok := c.s.over.enter(c.who.Name)
	if !ok {
		return func() {}, tooMany(nil, 10*time.Second, "too many histories and comparisons are worked at already")
	}
	return leave, nil
}

func bounds(q *api.HistoryQuery, in *historyIn) error {
	for to, text := range map[**api.Time]string{&q.Since: in.Since, &q.Until: in.Until} {
		if text == "" {
			continue
		}
		*to = new(api.Time)
		if err := (*to).UnmarshalText([]byte(text)); err != nil {
			return badRequest(http.StatusUnprocessableEntity, err.Error(), "")
		}
	}
	return nil
}

func answersLines(s *Server, op *huma.Operation, example string) {
	op.Responses["200"] = &huma.Response{Description: "Lines.", Content: map[string]*huma.MediaType{"application/x-ndjson": {
		Schema:  s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.TimelineLine](), true, "TimelineLine"),
		Example: strings.TrimSpace(example) + "\n"}}}
}

// lines writes what do says, line by line, and in between how far it has come, so that a client knows that it is
// alive. What is wrong before the first line is a problem by itself.
func (s *Server) lines(hc huma.Context, c *call, do func(ctx context.Context, say func(api.TimelineLine) error, at func(done, total int64)) error) {
	ctx, cancel := context.WithCancel(hc.Context())
	news, over := make(chan api.TimelineLine), make(chan error, 1)
	var far progress
	say := func(l api.TimelineLine) error {
		select {
		case news <- l:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	go func() { over <- s.unpanicked(func() error { return do(ctx, say, far.set) }) }()
	waited := false
	defer func() {
		cancel()
		if !waited {
			<-over
		}
	}()
	beat := time.NewTicker(min(s.limits.Beat, time.Second))
	defer beat.Stop()
	w := &lineWriter{hc: hc}
	for err := error(nil); err == nil; {
		select {
		case l := <-news:
			err = w.write(l, false)
		case <-beat.C:
			l := api.TimelineLine{}
			l.Done, l.Total = far.get()
			err = w.write(l, true)
		case why := <-over:
			waited = true
			if why != nil {
				if hc.Context().Err() == nil {
					c.end(true, why) // beside the line that it was begun
				}
				w.problem(c.explain(why))
			}
			return
		case <-s.over.ended():
			w.problem(finish(api.Problem{Status: http.StatusServiceUnavailable, Exit: exitBusy, Kind: kindTooMany, Detail: "the daemon is ending", Hint: "ask again when it runs"}, ""))
			return
		case <-ctx.Done():
			return
		}
	}
}

// unpanicked makes an error of a panic, which in a goroutine would end the daemon.
func (s *Server) unpanicked(do func() error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			s.log.Error("a request ended in a panic", "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))
			err = finish(api.Problem{Status: http.StatusInternalServerError, Exit: exitFailed, Kind: kindInternal,
				Detail: "the daemon failed in a way that nobody expected", Hint: "its log tells more (journalctl -u holdfast)"}, "")
		}
	}()
	return do()
}

// progress is how far something has come. Safe for concurrent use.
type progress struct{ done, total atomic.Int64 }

func (p *progress) set(done, total int64) {
	p.done.Store(done)
	p.total.Store(total)
}

func (p *progress) get() (done, total int64) { return p.done.Load(), p.total.Load() }

// lineWriter writes lines of JSON.
type lineWriter struct {
	hc    huma.Context
	began bool
}

func (w *lineWriter) write(l any, now bool) error {
	if !w.began {
		w.began = true
		w.hc.SetHeader("Content-Type", "application/x-ndjson")
		w.hc.SetHeader("Cache-Control", "no-store")
		w.hc.SetStatus(http.StatusOK)
	}
	if err := json.NewEncoder(w.hc.BodyWriter()).Encode(l); err != nil || !now {
		return err
	}
	return flush(w.hc)
}

// problem ends it: as an answer by itself where nothing was written yet.
func (w *lineWriter) problem(p *api.Problem) {
	if w.began {
		w.write(api.TimelineLine{Problem: p}, true) // a client that is gone needs no end
		return
	}
	w.hc.SetHeader("Content-Type", "application/problem+json")
	w.hc.SetHeader("Cache-Control", "no-store")
	w.hc.SetStatus(p.Status)
	json.NewEncoder(w.hc.BodyWriter()).Encode(p)
}
