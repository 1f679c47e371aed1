package notify

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Options of New. The zero value works.
type Options struct {
	StateDir string           // where what was told is kept; "": nowhere
	Log      *slog.Logger     // told what could not be sent; nil: nobody
	Now      func() time.Time // nil: time.Now

	// Settle is how long is waited for more before a message is sent; 0: 5 s. Limit is how long an attempt to send
	// may take; 0: 30 s. Retry is how long is waited after the first attempt that failed, twice as
	// long after each one more, up to Slowest; 0: 10 s, and 30 min.
	Settle, Limit, Retry, Slowest time.Duration
}

// parting is how long a message that is being sent may take once Watch is to end.
const parting = 2 * time.Second

// Notifier tells people. Its methods are safe for concurrent use, and none but Watch and Test waits.
type Notifier struct {
	config    Config
	o         Options
	host      string
	repeat    time.Duration
	client    *http.Client
	receivers []*receiver
	beat      chan struct{} // holds one that is to be sent

	mu     sync.Mutex
	active map[string]*trouble // by key
	seen   bool                // a status was
	memory memory
}

// receiver is one who is told.
type receiver struct {
	name  string // webhook 1, mail: stays the same while the configuration does
	kinds []string
	send  func(context.Context, Message) error
	wake  chan struct{} // holds one where something changed
}

// New returns a notifier. What is wrong with the configuration is an error; what was told before and cannot be
// read is only logged.
func New(c Config, o Options) (*Notifier, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	def := func(d *time.Duration, usual time.Duration) {
		if *d <= 0 {
			*d = usual
		}
	}
	def(&o.Settle, 5*time.Second)
	def(&o.Limit, 30*time.Second)
	def(&o.Retry, 10*time.Second)
	def(&o.Slowest, 30*time.Minute)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := &Notifier{config: c, o: o, host: c.Name, client: newClient(o.Limit), beat: make(chan struct{}, 1), active: map[string]*trouble{}}
	if n.host == "" {
		n.host, _ = os.Hostname() // without a name, messages have none
	}
	n.repeat, _ = c.repeat() // was checked
	var err error
	if n.memory, err = load(n.file()); err != nil {
		o.Log.Warn("notifications", "error", err)
	}
	for i := range n.memory.Jobs {
		t := &n.memory.Jobs[i]
		n.active[t.key()] = t
	}
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		n.add(fmt.Sprintf("webhook %d", i+1), w.On, func(ctx context.Context, m Message) error { return w.post(ctx, n.client, m) })
	}
	if m := c.Mail; m != nil {
		n.add("mail", m.On, func(ctx context.Context, msg Message) error { return m.send(ctx, helo(n.host), msg) })
	}
	return n, nil
}

func (n *Notifier) add(name string, on []string, send func(context.Context, Message) error) {
	n.receivers = append(n.receivers, &receiver{name, on, send, make(chan struct{}, 1)})
}

func (n *Notifier) file() string {
	if n.o.StateDir == "" {
		return ""
	}
	return filepath.Join(n.o.StateDir, "notify.json")
}

// helo is a name that a mail server takes.
func helo(host string) string {
	if host == "" || strings.ContainsFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-'
	}) {
		return "localhost"
	}
	return host
}

// Job tells of a job that changed; only one that is over matters. It never waits.
func (n *Notifier) Job(j *api.Job) {
	if !j.Over() || j.State == api.JobCancelled {
		return
	}
	fresh := ofJob(j)
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.replace(func(t *trouble) bool { return t.Job && t.Object == jobObject(j) }, fresh)
	if len(fresh)+old > 0 {
		n.wake()
	}
}

// Status tells how all stands, after each cycle. It never waits.
func (n *Notifier) Status(s *api.Status) {
	fresh := ofStatus(s)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.replace(func(t *trouble) bool { return !t.Job }, fresh)
	n.seen = true
	n.wake()
	if !s.AtRisk && n.config.Heartbeat != (Heartbeat{}) {
		nudge(n.beat)
	}
}

// replace puts fresh troubles in place of old ones, and returns how many those were. The caller holds mu.
func (n *Notifier) replace(old func(*trouble) bool, fresh []trouble) (count int) {
	since := map[string]time.Time{}
	for key, t := range n.active {
		if old(t) {
			since[key] = t.Since
			delete(n.active, key)
		}
	}
	for i := range fresh {
		t, key := &fresh[i], fresh[i].key()
		if at, known := since[key]; known {
			t.Since = at
		}
		if len(n.active) < maxTroubles {
			n.active[key] = t
		}
	}
	return len(since)
}

// wake has every receiver look. The caller holds mu.
func (n *Notifier) wake() {
	for _, r := range n.receivers {
		nudge(r.wake)
	}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it will be looked at anyhow
	}
}

// Watch sends messages until ctx ends, and returns nil then.
func (n *Notifier) Watch(ctx context.Context) error {
	var g errgroup.Group
	for _, r := range n.receivers {
		g.Go(func() error { n.serve(ctx, r); return nil })
	}
	if n.config.Heartbeat != (Heartbeat{}) {
		g.Go(func() error { n.beats(ctx); return nil })
	}
	return g.Wait()
}

// serve tells one receiver what there is to tell, whenever something changed or an attempt is to be repeated.
func (n *Notifier) serve(ctx context.Context, r *receiver) {
	again := time.Hour // what was told long ago is told again
	wait := n.o.Retry
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			if !pause(ctx, n.o.Settle) {
				return
			}
		case <-time.After(again):
		}
		again = time.Hour
		err := n.tell(ctx, r)
		if err == nil || ctx.Err() != nil {
			wait = n.o.Retry
			continue
		}
		n.o.Log.Warn("a notification was not sent", "receiver", r.name, "error", err, "again_in", wait)
		if !pause(ctx, wait) { // whatever changes meanwhile is told then
			return
		}
		again, wait = 0, min(2*wait, n.o.Slowest)
	}
}

// pause waits, and is false where ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// tell sends one message, where there is something to tell, and remembers what was said.
func (n *Notifier) tell(ctx context.Context, r *receiver) error {
	now := n.o.Now()
	n.mu.Lock()
	notes, then := plan(n.active, n.memory.Told[r.name], r.kinds, n.seen, now, n.repeat)
	n.mu.Unlock()
	if len(notes) > 0 {
		// What is under way when ctx ends has a moment more: who was told half would be told again.
		sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.o.Limit)
		defer cancel()
		defer context.AfterFunc(ctx, func() { time.AfterFunc(parting, cancel) })()
		if err := r.send(sending, compose(n.host, now, notes)); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.memory.Told[r.name] = then
	n.memory.Jobs = []trouble{}
	for _, key := range slices.Sorted(maps.Keys(n.active)) {
		if t := n.active[key]; t.Job {
			n.memory.Jobs = append(n.memory.Jobs, *t)
		}
	}
	if err := n.memory.save(n.file()); err != nil {
		n.o.Log.Warn("what was told is not remembered", "error", err)
	}
	return nil
}

// beats asks the heartbeat's URL after each cycle, a few times where it does not answer.
func (n *Notifier) beats(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.beat:
		}
		var err error
		for attempt := range 3 {
			if attempt > 0 && !pause(ctx, n.o.Retry) {
				return
			}
			limited, cancel := context.WithTimeout(ctx, n.o.Limit)
			err = n.config.Heartbeat.beat(limited, n.client)
			if cancel(); err == nil {
				break
			}
		}
		if err != nil && ctx.Err() == nil {
			n.o.Log.Warn("the heartbeat was not sent", "error", err)
		}
	}
}

// Sent is what became of a message to one receiver.
type Sent struct {
	Receiver string `json:"receiver"`
	Error    string `json:"error,omitempty"` // empty: it was taken
}

// Test sends a message to every receiver, and asks the heartbeat's URL, each once.
func (n *Notifier) Test(ctx context.Context) []Sent {
	m := compose(n.host, n.o.Now(), []Note{{Kind: Warning, Object: "notifications", Text: "this is a test: messages of this host arrive", Since: n.o.Now()}})
	results := make([]Sent, 0, len(n.receivers)+1)
	try := func(name string, send func(context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, n.o.Limit)
		defer cancel()
		s := Sent{Receiver: name}
		if err := send(ctx); err != nil {
			s.Error = err.Error()
		}
		results = append(results, s)
	}
	for _, r := range n.receivers {
		try(r.name, func(ctx context.Context) error { return r.send(ctx, m) })
	}
	if n.config.Heartbeat != (Heartbeat{}) {
		try("heartbeat", func(ctx context.Context) error { return n.config.Heartbeat.beat(ctx, n.client) })
	}
	return results
}
