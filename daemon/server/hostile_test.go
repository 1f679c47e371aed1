package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// aProblem wants an answer to be a problem with a status and the exit code of a usage error.
func aProblem(t *testing.T, w *httptest.ResponseRecorder, status, exit int) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != status || p.Status != status || p.Exit != exit || p.Detail == "" ||
		w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("not a problem with status %d and exit code %d: %d %s %.300s", status, exit, w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	return p
}

func TestRequestsThatMakeNoSenseAreRefusedAndReachNoOperation(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	admin := st.secret(t, "admin")
	job := `{"kind":"backup","vault":"main","machine":"web1"`
	deep := strings.Repeat("[", 400000)
	for _, row := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"a body that is too large", "POST", "/jobs", job + `,"x":"` + strings.Repeat("a", 1<<20) + `"}`, 413},
		{"a body that is too deep", "POST", "/jobs", deep, 400},
		{"a deep field", "POST", "/jobs", job + `,"restore":` + strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9001), 422},
		{"no JSON", "POST", "/jobs", "kind=backup", 400},
		{"two values", "POST", "/jobs", job + "}{}", 400},
		{"a body that is not UTF-8", "POST", "/jobs", `{"kind":"backup","vault":"m` + "\xff\xfe" + `in"}`, 400},
		{"another type", "POST", "/jobs", `{"kind":7,"vault":"main"}`, 422},
		{"a number for a list", "POST", "/vaults/main/points/change", `{"change":"delete","points":3}`, 422},
		{"a field that there is not", "POST", "/jobs", job + `,"as_root":true}`, 422},
		{"a kind that there is not", "POST", "/jobs", `{"kind":"format","vault":"main"}`, 422},
		{"no body", "POST", "/jobs", "", 400},
		{"no points", "POST", "/vaults/main/points/change", `{"change":"delete","points":[]}`, 422},
		{"no change", "POST", "/vaults/main/points/change", `{"change":"eat","points":[{"machine":"web1","point":"latest"}]}`, 422},
		{"no time", "POST", "/vaults/main/machines/web1/hold", `{"until":"tomorrow"}`, 422},
		{"no role", "POST", "/access/grants", `{"who":"anna","role":"god"}`, 422},
		{"no glob", "POST", "/access/grants", `{"who":"anna","role":"viewer","machines":["[a"]}`, 422},
		{"a glob with a quote", "POST", "/access/grants", `{"who":"anna","role":"viewer","machines":["a';reboot"]}`, 422},
		{"nobody", "POST", "/access/grants", `{"who":"an na","role":"viewer"}`, 422},
		{"a token's odd name", "POST", "/access/tokens", `{"name":"../x","role":"viewer"}`, 422},
		{"a token of the past", "POST", "/access/tokens", `{"name":"x","role":"viewer","expires":"2001-01-01T00:00:00Z"}`, 422},
		{"a parameter that there is not", "GET", "/jobs?as=root", "", 422},
		{"a parameter of another type", "GET", "/jobs?limit=many", "", 422},
		{"a parameter that is too large", "GET", "/jobs?limit=100000000", "", 422},
		{"a time that is none", "GET", "/audit?since=yesterday", "", 422},
		{"another method", "DELETE", "/jobs", "", 405},
		{"a method that there is not", "BREW", "/jobs", "", 405},
		{"HEAD of a list", "HEAD", "/jobs", "", 405},
		{"a body where none belongs", "GET", "/jobs", "{}", 400},
		{"another address", "GET", "/nothing/here", "", 404},
		{"a way up", "GET", "/vaults/main/machines/..%2f..%2fetc/points/latest/disks/vda", "", 422},
		{"two dots", "GET", "/vaults/main/machines/web1/points/latest/disks/%2e%2e%2fvda", "", 422},
		{"a zero byte", "GET", "/vaults/main/machines/web1%00/points/latest/disks/vda", "", 422},
		{"a machine that is not UTF-8", "POST", "/vaults/main/machines/%ff%fe/release", "", 422},
		{"a vault that is a path", "GET", "/vaults/%2fetc%2fpasswd/machines", "", 422},
		{"a vault with a line feed", "GET", "/vaults/a%0ab/machines", "", 422},
		{"a vault that is too long", "GET", "/vaults/" + strings.Repeat("a", 1025) + "/machines", "", 422},
		{"a vault that is a path, in a body", "POST", "/jobs", `{"kind":"backup","vault":"/srv/other"}`, 422},
		{"a machine that is a path, in a body", "POST", "/jobs", `{"kind":"backup","vault":"main","machine":"../web1"}`, 422},
		{"a job that is a path", "GET", "/jobs/..%2fx", "", 422},
		{"a policy that is a path", "DELETE", "/vaults/main/policies/a%2fb", "", 422},
		{"a point that is a path", "POST", "/vaults/main/points/give-up", `{"machine":"web1","point":"../p1"}`, 422},
		{"a new name that is a path", "POST", "/vaults/main/machines/web1/rename", `{"to":"../web1"}`, 422},
	} {
		w := st.ask(admin, row.method, base+row.path, row.body)
		if row.method == "HEAD" && w.Code == row.status {
			continue
		}
		exit := 2
		if row.status == 404 {
			exit = 6
		}
		if p := aProblem(t, w, row.status, exit); t.Failed() || len(p.Detail) > 3000 {
			t.Fatalf("%s: %d bytes of detail", row.name, len(p.Detail))
		}
		if calls := st.fake.called(); len(calls) > 0 {
			t.Errorf("%s reached %v", row.name, calls)
		}
	}
	r := httptest.NewRequest("POST", base+"/jobs", strings.NewReader(job+"}"))
	r.Header.Set("Authorization", "Bearer "+admin)
	r.Header.Set("Content-Type", "text/xml")
	aProblem(t, st.send(r), 415, 2)
}

func TestTheOperationsAreToldThatABearerOfATokenIsNotTrusted(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	for path, body := range map[string]string{
		"/jobs":                 `{"kind":"backup","vault":"main","machine":"x","backup":{"disks":["vda=/etc/shadow"]}}`,
		"/vaults/main/machines": `{"name":"x","protection":{"qmp":"/run/x.sock"}}`,
	} {
		st.ask(st.secret(t, "admin"), "POST", base+path, body)
		if st.fake.by != (api.Caller{Name: "token:t0-admin"}) {
			t.Errorf("%s was done for %+v", path, st.fake.by)
		}
	}
}

func TestASlowOrHugeRequestIsEndedAndOthersGoOn(t *testing.T) {
	t.Parallel()
	needRoot(t)
	st := newSite(t, func(c *Config) { c.Limits.Arrive = 300 * time.Millisecond })
	path := st.run(t)
	for _, row := range []struct{ name, text, want string }{
		{"no headers", "", ""},
		{"half of the headers", "GET " + base + "/whoami HTTP/1.1\r\nHo", ""},
		{"half of a body", "POST " + base + "/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", "408"},
		{"a chunk that never comes", "POST " + base + "/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "408"},
		{"a body that is not read", "GET " + base + "/whoami HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n", "400"},
		{"huge headers", "GET " + base + "/whoami HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "431"},
		{"no HTTP", "\x16\x03\x01 hello", "400"},
	} {
		line := ""
		for try := 0; try == 0 || try < 20 && !strings.Contains(line, row.want); try++ { // a busy machine may be slow itself
			line = firstLine(t, path, row.text)
		}
		if !strings.Contains(line, row.want) {
			t.Errorf("%s: %q", row.name, line)
		}
	}
	if _, err := dial(t, path).Vaults(t.Context()); err != nil {
		t.Error(err)
	}
}

// firstLine sends text over a connection of its own, and returns the first line of what comes
// until the server ends it.
func firstLine(t *testing.T, path, text string) string {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	go io.WriteString(c, text) // ends when the connection does
	got, err := io.ReadAll(c)
	if os.IsTimeout(err) {
		t.Fatalf("%.80q is waited for still", text)
	}
	line, _, _ := strings.Cut(string(got), "\r\n")
	return line
}

// deadlines is an answer that notes until when the request has to arrive.
type deadlines struct {
	*httptest.ResponseRecorder
	read []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.read = append(d.read, t)
	return nil
}

func TestAnAnswerMayTakeLongerThanARequestMay(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	for _, row := range []struct{ method, path, body string }{{"GET", "/jobs/j-web1/events", ""}, {"GET", "/vaults", ""}, {"POST", "/jobs", `{"kind":"sweep","vault":"main"}`}} {
		r := httptest.NewRequest(row.method, base+row.path, strings.NewReader(row.body))
		r.Header.Set("Authorization", "Bearer "+st.secret(t, "admin"))
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		st.ServeHTTP(w, r)
		if n := len(w.read); w.Code != 200 || n < 2 || w.read[0].IsZero() || !w.read[n-1].IsZero() {
			t.Errorf("%s %s: %d, to arrive until %v", row.method, row.path, w.Code, w.read)
		}
	}
}

func TestAFollowerThatDoesNotReadIsLeftBehind(t *testing.T) {
	t.Parallel()
	needRoot(t)
	st := newSite(t, func(c *Config) { c.Limits.Stall = 100 * time.Millisecond })
	st.fake.events = make(chan api.JobEvent)
	conn, err := net.Dial("unix", st.run(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s/jobs/j-web1/events HTTP/1.1\r\nHost: x\r\n\r\n", base)
	j := fakeJob("web1")
	j.Result, _ = json.Marshal(strings.Repeat("x", 1<<20))
	deadline := time.After(time.Minute)
	inside := func() int {
		st.follow.mu.Lock()
		defer st.follow.mu.Unlock()
		return st.follow.inside
	}
	waitFor(t, func() bool { return inside() > 0 })
	for {
		if inside() == 0 {
			return // it was cut off, and nothing of it is left
		}
		select {
		case st.fake.events <- api.JobEvent{Job: j}:
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatal("it is served still")
		}
	}
}

func TestFollowersAndConnectionsAreOnlySoMany(t *testing.T) {
	t.Parallel()
	needRoot(t)
	st := newSite(t, func(c *Config) { c.Limits.Followers = 4; c.Limits.PerClient = 3 })
	st.fake.events = make(chan api.JobEvent)
	path := st.run(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 2 {
		got, over := make(chan bool), make(chan error, 1)
		go func() {
			over <- dial(t, path).Follow(ctx, "j-web1", func(api.JobEvent) error { got <- true; return nil })
		}()
		<-got
		defer func() { cancel(); <-over }()
	}
	resp := rawGet(t, path, "/jobs/j-web1/events")
	if resp.StatusCode != 429 { // half of the room is the most for one
		t.Errorf("the third follower: %s", resp.Status)
	}
	openUp(t, path)
	for i := range 4 { // root is never kept out, others are
		c := connectAs(t, path, 4242, 4242, nil)
		c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err == nil {
			_, err = bufio.NewReader(c).ReadByte()
			if (err == nil) != (i < 3) {
				t.Errorf("connection %d of one user: %v", i, err)
			}
		}
	}
	if _, err := dial(t, path).Vaults(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAPanicEndsOneRequestAndLeavesALine(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	st.fake.panics = true
	w := st.ask(st.secret(t, "admin"), http.MethodPost, base+"/jobs", `{"kind":"sweep","vault":"main"}`)
	if p := aProblem(t, w, 500, 1); strings.Contains(p.Detail, "as asked for") {
		t.Errorf("it tells what is inside: %s", p.Detail)
	}
	if log := st.log.String(); !strings.Contains(log, "as asked for") || !strings.Contains(log, "fake_test.go") {
		t.Errorf("the log does not tell of it: %s", log)
	}
	if e := st.entries(t); len(e) != 1 || e[0].Outcome != api.AuditFailed || e[0].Action != "start-job" {
		t.Errorf("the audit log holds %+v", e)
	}
	st.fake.panics = false
	if w := st.ask(st.secret(t, "admin"), http.MethodGet, base+"/vaults", ""); w.Code != 200 {
		t.Errorf("afterwards: %d", w.Code)
	}
}

func TestGuessingATokenBecomesSlowForTheOneWhoGuesses(t *testing.T) {
	t.Parallel()
	st := newSite(t, func(c *Config) { c.Limits.LoginFailures = 5 })
	good := st.secret(t, "viewer")
	from := func(addr, secret string) int {
		r := httptest.NewRequest("GET", base+"/whoami", nil)
		r.RemoteAddr = addr
		r.Header.Set("Authorization", "Bearer "+secret)
		return st.send(r).Code
	}
	for i := range 5 {
		if code := from("198.51.100.1:1", fmt.Sprintf("hf_%016x_%064x", i, i)); code != 401 {
			t.Errorf("guess %d: %d", i, code)
		}
	}
	if code := from("198.51.100.1:2", good); code != 429 {
		t.Errorf("after five guesses: %d", code)
	}
	if code := from("198.51.100.2:2", good); code != 200 {
		t.Errorf("another address: %d", code)
	}
	for i := range 6 { // one network of IPv6 is one source
		from(fmt.Sprintf("[2001:db8::%x]:1", i), "hf_x")
	}
	if code := from("[2001:db8::ffff]:1", good); code != 429 {
		t.Errorf("another address of the same network: %d", code)
	}
	if n := len(st.entries(t)); n != 0 {
		t.Errorf("whoever guesses wrote %d lines into the audit log, and could have pushed others out", n)
	}
}

func TestWhoeverIsRefusedAllTheTimeIsNotHeardForAWhile(t *testing.T) {
	t.Parallel()
	st := newSite(t, func(c *Config) { c.Limits.RefusalsMinute = 7 })
	viewer := st.secret(t, "viewer")
	for range 20 {
		st.ask(viewer, "GET", base+"/audit", "")
	}
	if n := len(st.entries(t)); n != 7 {
		t.Errorf("the audit log holds %d lines", n)
	}
	if w := st.ask(viewer, "GET", base+"/vaults", ""); w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := st.ask(st.secret(t, "admin"), "GET", base+"/vaults", ""); w.Code != 200 {
		t.Errorf("another: %d", w.Code)
	}
}
