package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// hook is a webhook that remembers what it was told.
type hook struct {
	*httptest.Server
	messages chan Message
	refuse   chan int // codes that are answered first
	header   chan http.Header
}

func newHook(t *testing.T) *hook {
	h := &hook{messages: make(chan Message, 100), refuse: make(chan int, 100), header: make(chan http.Header, 10_000)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case code := <-h.refuse:
			w.WriteHeader(code)
			return
		default:
		}
		var m Message
		body, _ := io.ReadAll(r.Body)
		if json.Unmarshal(body, &m) != nil || m.Title == "" {
			m.Text = string(body)
		}
		select {
		case h.messages <- m: // what is too many for a test is not kept
			h.header <- r.Header
		default:
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) next(t *testing.T) Message {
	t.Helper()
	select {
	case m := <-h.messages:
		return m
	case <-time.After(time.Minute):
		t.Fatal("no message comes")
		panic("")
	}
}

// shared is a text that is read while it is written.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// clock is a time that a test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// watching runs a notifier until the test ends, or the function that it returns is called.
func watching(t *testing.T, c Config, o Options) (*Notifier, func()) {
	t.Helper()
	o.Settle, o.Retry, o.Slowest = time.Millisecond, time.Millisecond, 5*time.Millisecond
	n, err := New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { n.Watch(ctx); close(done) }()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return n, stop
}

func atRisk(now time.Time, reasons ...string) *api.Status {
	s := &api.Status{Time: api.At(now)}
	for i, r := range reasons {
		s.Machines = append(s.Machines, api.MachineStatus{Name: fmt.Sprintf("web%d", i), Reasons: []string{r}})
	}
	s.AtRisk = len(reasons) > 0
	return s
}

func TestATroubleIsToldOnceThenWeeklyAndWhenItIsOver(t *testing.T) {
	t.Parallel()
	h, c, state := newHook(t), &clock{at: start}, t.TempDir()
	config := Config{Name: "host1", Webhooks: []Webhook{{URL: h.URL}}}
	n, stop := watching(t, config, Options{StateDir: state, Now: c.now})
	n.Status(atRisk(start, "RPO missed: 1d old"))
	m := h.next(t)
	if m.Title != "Holdfast on host1: machine web0: RPO missed: 1d old" || len(m.Notes) != 1 || m.Notes[0].Kind != RPO {
		t.Fatalf("%+v", m)
	}
	// What follows is answered by one message each: none for what was told already.
	say := func(want string, change func(n *Notifier)) {
		t.Helper()
		change(n)
		if got := h.next(t); !strings.Contains(got.Text, want) || strings.Count(got.Text, "\n") != 1 {
			t.Errorf("%q, want %q", got.Text, want)
		}
	}
	c.add(24 * time.Hour)
	say("vault v: it is full", func(n *Notifier) {
		s := atRisk(c.now(), "RPO missed: 2d old")
		s.Vaults = []api.VaultStatus{{Vault: api.Vault{Name: "v"}, Size: 10, Free: 1, Floor: 2}}
		n.Status(s)
	})
	stop()
	n, stop = watching(t, config, Options{StateDir: state, Now: c.now})
	say("over: vault v: it is full", func(n *Notifier) { n.Status(atRisk(c.now(), "RPO missed: 3d old")) })
	c.add(7*24*time.Hour - 24*time.Hour)
	say("machine web0: RPO missed: 10d old", func(n *Notifier) { n.Status(atRisk(c.now(), "RPO missed: 10d old")) })
	stop()
	n, _ = watching(t, config, Options{StateDir: state, Now: c.now})
	say("over: machine web0", func(n *Notifier) { n.Status(atRisk(c.now())) })
	if len(h.messages) > 0 {
		t.Errorf("one more: %+v", <-h.messages)
	}
}

func TestJobsThatFailAndWarnAreTold(t *testing.T) {
	t.Parallel()
	h, c := newHook(t), &clock{at: start}
	n, _ := watching(t, Config{Webhooks: []Webhook{{URL: h.URL}}}, Options{Now: c.now})
	ended := api.At(start)
	job := func(state, problem string, warnings ...string) *api.Job {
		j := &api.Job{ID: "j1", Kind: api.JobBackup, Machine: "web1", State: state, Ended: &ended, Warnings: warnings}
		if problem != "" {
			j.Error = &api.Problem{Detail: problem, Hint: "do that", Exit: 1}
		}
		return j
	}
	for _, s := range []struct {
		job  *api.Job
		want string // "": nothing
	}{
		{job(api.JobRunning, ""), ""},
		{job(api.JobWarnings, "", "the agent is old", "vdb is left out"), "backup of machine web1: the agent is old\nbackup of machine web1: vdb is left out\n"},
		{job(api.JobWarnings, "", "the agent is old"), ""},
		{job(api.JobCompleted, ""), ""}, // a warning that is over is no news
		{job(api.JobFailed, "point p0011 of 7 GiB"), "backup of machine web1: it failed: point p0011 of 7 GiB\n  hint: do that\n"},
		{job(api.JobFailed, "point p22ab of 9 GiB"), ""}, // the same
		{job(api.JobCancelled, ""), ""},
		{job(api.JobFailed, "the vault hangs"), "it failed: the vault hangs"}, // another one, and no recovery
		{job(api.JobWarnings, "", "slow"), "slow\nover: backup of machine web1: it failed: the vault hangs\n"},
		{job(api.JobInterrupted, ""), "it was interrupted"},
		{job(api.JobCompleted, ""), "over: backup of machine web1: it was interrupted\n"},
	} {
		n.Job(s.job)
		if s.want != "" {
			if m := h.next(t); !strings.Contains(m.Text, s.want) {
				t.Errorf("%q, want %q", m.Text, s.want)
			}
		}
		time.Sleep(20 * time.Millisecond) // what is not to come would be one too many below
	}
	if len(h.messages) > 0 {
		t.Errorf("one more: %+v", <-h.messages)
	}
	bad := job(api.JobFailed, "3 faults")
	bad.Kind, bad.Machine, bad.Vault, bad.Error.Exit = api.JobCheck, "", "v", 4
	n.Job(bad)
	if m := h.next(t); m.Notes[0].Kind != Damage || m.Notes[0].Object != "check of vault v" {
		t.Errorf("%+v", m)
	}
}

func TestAReceiverThatFailsIsAskedAgainAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	bad, good := newHook(t), newHook(t)
	for range 5 {
		bad.refuse <- 503
	}
	hangs, err := net.Listen("tcp", "127.0.0.1:0") // accepts nobody
	if err != nil {
		t.Fatal(err)
	}
	defer hangs.Close() // before the notifier ends, so that it need not wait
	n, _ := watching(t, Config{Webhooks: []Webhook{{URL: bad.URL}, {URL: good.URL, On: []string{RPO}}, {URL: "http://" + hangs.Addr().String()}}}, Options{Limit: 5 * time.Second})
	n.mu.Lock() // so that all comes at once
	for i := range 2000 {
		n.replace(func(*trouble) bool { return false }, ofJob(&api.Job{Kind: api.JobSweep, Vault: fmt.Sprint(i), State: api.JobFailed}))
	}
	n.mu.Unlock()
	n.Status(atRisk(start, "late"))
	if m := good.next(t); len(m.Notes) != 1 || m.Notes[0].Kind != RPO {
		t.Errorf("%+v", m.Notes)
	}
	m := bad.next(t)
	if len(m.Notes) > maxLines || !strings.Contains(m.Text, "more: `holdfast status` lists all") || !strings.Contains(m.Title, "more") {
		t.Errorf("%d notes, %s", len(m.Notes), m.Title)
	}
}

func TestTheHeartIsBeatWhileNothingIsAtRisk(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(h.URL+"/ping/s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, _ := watching(t, Config{Heartbeat: Heartbeat{URLFile: file}}, Options{})
	h.refuse <- 500
	n.Status(atRisk(start))
	h.next(t) // at the second attempt
	n.Status(atRisk(start, "late"))
	time.Sleep(20 * time.Millisecond)
	if len(h.messages) > 0 {
		t.Error("it is beat while something is at risk")
	}
}

func TestSecretsAreInNoErrorAndNoLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	h := newHook(t)
	h.refuse <- 401
	h.refuse <- 401
	server, _ := mailServer(t, false)
	c := Config{
		Webhooks: []Webhook{
			{URL: h.URL + "/", TokenFile: write("token", "s3cret-token\nmore")},
			{URLFile: write("closed", "http://127.0.0.1:1/s3cret-path")},
			{URLFile: write("odd", "s3cret")},
			{URLFile: write("control", "http://x/s3cret\x01y")},
			{URLFile: filepath.Join(dir, "missing")},
		},
		Mail:      &Mail{Server: server, From: "a@example.com", To: []string{"b@example.com"}, User: "u", PasswordFile: write("password", "s3cret"), TLS: "starttls"},
		Heartbeat: Heartbeat{URLFile: write("beat", "http://127.0.0.1:1/s3cret-beat?x=s3cret")},
	}
	var log shared
	n, err := New(c, Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Retry: time.Millisecond, Settle: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	sent := n.Test(t.Context())
	if len(sent) != 7 {
		t.Fatalf("%+v", sent)
	}
	for _, s := range sent {
		if s.Error == "" || strings.Contains(s.Error, "s3cret") {
			t.Errorf("%+v", s)
		}
	}
	if !strings.Contains(sent[0].Error, "401") {
		t.Errorf("%+v", sent[0])
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n.Status(atRisk(start, "late"))
	go func() {
		for end := time.Now().Add(time.Minute); !strings.Contains(log.String(), "webhook 2") && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	n.Watch(ctx)
	if strings.Contains(log.String(), "s3cret") || !strings.Contains(log.String(), "webhook 2") {
		t.Errorf("%s", &log)
	}
}

func TestAWebhookIsToldInItsFormatWithItsToken(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("abc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := New(Config{Name: "höst", Webhooks: []Webhook{{URL: h.URL, TokenFile: token}, {URL: h.URL, Format: "slack"}, {URL: h.URL, Format: "text"}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if sent := n.Test(t.Context()); slices.ContainsFunc(sent, func(s Sent) bool { return s.Error != "" }) {
		t.Fatalf("%+v", sent)
	}
	if m := h.next(t); m.Host != "höst" || (<-h.header).Get("Authorization") != "Bearer abc" {
		t.Errorf("%+v", m)
	}
	if m := h.next(t); !strings.Contains(m.Text, `{"text":"Holdfast on höst: notifications: this is a test`) || (<-h.header).Get("Authorization") != "" {
		t.Errorf("%+v", m)
	}
	if m := h.next(t); m.Text != "notifications: this is a test: messages of this host arrive\n" || (<-h.header).Get("Title") != "Holdfast on h?st: notifications: this is a test: messages of this host arrive" {
		t.Errorf("%+v", m)
	}
}

func FuzzWhatWasToldIsReadOrLeft(f *testing.F) {
	f.Add([]byte(`{"jobs":[{"kind":"failure","object":"x","text":"y","job":true}],"told":{"mail":{"k":{"kind":"rpo","at":"2026-11-23T12:00:00Z"}}}}`))
	f.Add([]byte(`{"told":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "notify.json")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		m, _ := load(name)
		if m.Told == nil {
			t.Fatal("it is not ready")
		}
		active := map[string]*trouble{}
		for i := range m.Jobs {
			active[m.Jobs[i].key()] = &m.Jobs[i]
		}
		for _, told := range m.Told {
			if notes, _ := plan(active, told, nil, true, start, time.Hour); len(notes) > 0 {
				compose("h", start, notes)
			}
		}
	})
}
