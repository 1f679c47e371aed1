package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

const latest = base + "/vaults/main/machines/web1/points/latest"

func TestPathsOfGuestsArriveByteByByte(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	secret := st.secret(t, "restorer")
	for query, want := range map[string]api.GuestAt{
		"":                                 {},
		"?path=/a%20b%2Bc%26d%25":          {Path: "/a b+c&d%"},
		"?path=/caf%E9%ff&volume=vg0-root": {Path: "/caf\xe9\xff", Volume: "vg0-root"},
		"?path=/a%0a%1b&no_follow=true":    {Path: "/a\n\x1b", NoFollow: true},
		"?path=" + api.EscapePath("/\xed\xa0\x80;a?#=é"): {Path: "/\xed\xa0\x80;a?#=é"},
		"?path=C:%5cUsers%5c..%2f..%2f":                  {Path: `C:\Users\../../`},
		"?path=" + strings.Repeat("/a", 8000):            {Path: strings.Repeat("/a", 8000)},
	} {
		w := st.ask(secret, "GET", latest+"/files/stat"+query, "")
		want.Vault, want.PointRef = "main", api.PointRef{Machine: "web1", Point: "latest"}
		if w.Code != 200 || st.fake.last != want {
			t.Errorf("%s: %d %+v", query, w.Code, st.fake.last)
		}
	}
	st.fake.called()
	for _, query := range []string{"?path=/a%00b", "?path=" + strings.Repeat("a", 16385), "?volume=a%0ab", "?volume=%ff", "?volume=" + strings.Repeat("a", 257), "?paht=/", "?path=%zz", "?no_follow=maybe"} {
		w := st.ask(secret, "GET", latest+"/files"+query, "")
		if w.Code != 422 && w.Code != 400 || len(st.fake.called()) > 0 {
			t.Errorf("%.30s: %d %.200s", query, w.Code, w.Body)
		}
	}
	for _, query := range []string{"limit=-1", "limit=10001", "limit=x", "after=" + strings.Repeat("a", 8193)} {
		if w := st.ask(secret, "GET", latest+"/files?"+query, ""); w.Code != 422 {
			t.Errorf("%.30s: %d", query, w.Code)
		}
	}
	if w := st.ask(secret, "GET", latest+"/files/archive?format=rar", ""); w.Code != 422 {
		t.Errorf("another format: %d", w.Code)
	}
}

func TestADownloadIsServedInRangesUnderATagAndASafeName(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	secret := st.secret(t, "restorer")
	st.fake.holds(fakeContent{name: "a\"b\n../\u202Egpj.exe", text: "0123456789"})
	get := func(method string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, latest+"/files/content?path=/x", nil)
		r.Header.Set("Authorization", "Bearer "+secret)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return st.send(r)
	}
	w := get("GET")
	h := w.Header()
	kind, p, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	if w.Code != 200 || w.Body.String() != "0123456789" || h.Get("Content-Type") != "application/octet-stream" || h.Get("X-Content-Type-Options") != "nosniff" ||
		err != nil || kind != "attachment" || p["filename"] != `a_b_.._\u202Egpj.exe` && strings.ContainsAny(p["filename"], "\"\n/\u202E") || h.Get("ETag") != `"p-web1-1"` || h.Get("Last-Modified") == "" {
		t.Errorf("%d %q %v", w.Code, w.Body, h)
	}
	for _, row := range []struct {
		headers, body string
		status        int
	}{
		{"Range: bytes=2-4", "234", 206}, {"Range: bytes=-3", "789", 206}, {"Range: bytes=8-9999999999999999", "89", 206}, {"Range: bytes=5-", "56789", 206},
		{"Range: bytes=5-2", "", 416}, {"Range: bytes=10-", "", 416}, {"Range: bytes=99999999999999999999999-", "", 416}, {"Range: lines=1-2", "", 416},
		{"Range: bytes=a-b", "", 416}, {"Range: bytes=0-9,0-9,0-9", "0123456789", 200}, {`Range: bytes=2-4|If-Range: "p-web1-1"`, "234", 206}, {`Range: bytes=2-4|If-Range: "other"`, "0123456789", 200},
		{"Range: bytes=2-4|If-Range: Sun, 22 Nov 2026 21:04:11 GMT", "0123456789", 200}, {`If-None-Match: "p-web1-1"`, "", 304},
	} {
		var headers []string
		for _, h := range strings.Split(row.headers, "|") {
			name, value, _ := strings.Cut(h, ": ")
			headers = append(headers, name, value)
		}
		w := get("GET", headers...)
		if w.Code != row.status || row.status < 300 && w.Body.String() != row.body {
			t.Errorf("%s: %d %q", row.headers, w.Code, w.Body)
		}
		if row.status == 416 {
			aProblem(t, w, 416, 2)
		}
	}
	if w := get("HEAD"); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "10" {
		t.Errorf("HEAD: %d %v", w.Code, w.Header())
	}
	if w := get("GET", "Range", "bytes=0-1,3-4"); w.Code != 206 || !strings.Contains(w.Body.String(), "\r\n\r\n34\r\n") {
		t.Errorf("two ranges: %d %q", w.Code, w.Body)
	}
	if n := len(st.entries(t)); n != 1 {
		t.Errorf("all of it is %d lines in the audit log", n)
	}
}

func TestNamesOfDownloadsAreSafeEverywhere(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"report.pdf": "report.pdf", "": "file", "..": "_", "...": "_", ".bashrc": "_bashrc", "a/b\\c:d": "a_b_c_d", "a\x00\x1b[31m": "a__[31m", "caf\xe9": "caf_", "naïve €": "naïve €",
		"evil\u202egpj.exe": "evil_gpj.exe", "con. . ": "con", " x": "x", strings.Repeat("é", 150) + ".tar.gz": strings.Repeat("é", 98) + ".gz", strings.Repeat("a", 300): strings.Repeat("a", 200),
	} {
		if got := safeName(name); got != want {
			t.Errorf("%q is saved as %q, not %q", name, got, want)
		}
		if _, p, err := mime.ParseMediaType(attachment(name)); err != nil || p["filename"] == "" {
			t.Errorf("%q: %s: %v", name, attachment(name), err)
		}
	}
}

func TestADownloadThatCannotBeReadOnBreaksOffAndTheAuditLogSaysSo(t *testing.T) {
	t.Parallel()
	needRoot(t)
	st := newSite(t, nil)
	path := st.run(t)
	st.fake.holds(fakeContent{name: "x", text: strings.Repeat("0123456789abcdef", 256<<10), broken: 3 << 20})
	c := dial(t, path)
	for _, what := range []string{"download-file", "download-folder"} {
		var body io.ReadCloser
		var err error
		failed := func() int64 { return -1 }
		at := api.GuestAt{Vault: "main", PointRef: api.PointRef{Machine: "web1", Point: "latest"}, Path: "/etc/" + what}
		if what == "download-file" {
			body, err = c.ReadGuestFile(t.Context(), at, "", 0)
		} else {
			body, failed, err = c.ReadGuestArchive(t.Context(), at, api.Tar)
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(body)
		body.Close()
		if err == nil || len(b) < 1<<20 || failed() != -1 {
			t.Errorf("%s: %d bytes came, and then %v", what, len(b), err)
		}
		waitFor(t, func() bool {
			e := st.entries(t)
			n := len(e)
			return n >= 2 && e[n-2].Action == what && e[n-2].Outcome == api.AuditDone && e[n-1].Action == what && e[n-1].Outcome == api.AuditFailed && e[n-1].Machine == "web1"
		})
	}
	st.fake.holds(fakeContent{name: "x", text: strings.Repeat("0123456789abcdef", 256<<10)})
	body, failed, err := c.ReadGuestArchive(t.Context(), api.GuestAt{Vault: "main", PointRef: api.PointRef{Machine: "web1", Point: "latest"}}, api.Tar)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if b, err := io.ReadAll(body); err != nil || len(b) != 4<<20 || failed() != 2 {
		t.Errorf("a whole archive: %d bytes, %v, %d problems", len(b), err, failed())
	}
}

func waitFor(t *testing.T, what func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !what(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come")
		}
	}
}

func TestPassphrasesAreInNoLogAndNoAnswer(t *testing.T) {
	t.Parallel()
	st := newSite(t, func(c *Config) { c.Limits.Guesses = 3 })
	secret := st.secret(t, "restorer")
	body := `{"passphrases":["correct horse"],"key_files":["c2VjcmV0"]}`
	w := st.ask(secret, "POST", latest+"/unlock", body)
	if w.Code != 200 || fmt.Sprint(st.fake.last) != "(keys)" {
		t.Errorf("%d %s, asked with %v", w.Code, w.Body, st.fake.last)
	}
	keys, _ := st.fake.last.(api.GuestKeys)
	if len(keys.Passphrases) != 1 || keys.Passphrases[0] != "correct horse" {
		t.Errorf("%#v", keys.Passphrases)
	}
	for _, bad := range []string{`{"passphrases":"correct horse"}`, `{"passphrases":["correct horse"],"x":1}`, `{"passphrases":[["correct horse"]]}`, `correct horse`} {
		if w := st.ask(secret, "POST", latest+"/unlock", bad); w.Code < 400 || strings.Contains(w.Body.String(), "horse") {
			t.Errorf("%s: %d %s", bad, w.Code, w.Body)
		}
	}
	st.fake.fail = &api.Problem{Status: 403, Exit: 8, Kind: "volume-locked", Detail: "none of them opens it"}
	for i := range 4 {
		if w := st.ask(secret, "POST", latest+"/unlock", body); i < 3 && w.Code != 403 || i == 3 && w.Code != 429 {
			t.Errorf("guess %d: %d", i, w.Code)
		}
	}
	all, _ := json.Marshal(st.entries(t))
	if text := string(all) + st.log.String(); strings.Contains(text, "horse") || strings.Contains(text, "c2Vj") || !strings.Contains(text, "unlock-guest") {
		t.Errorf("the logs hold %s", text)
	}
}

func TestPagesOfAFolderAreOneLineInTheAuditLogForEachCaller(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	for _, role := range []string{"restorer", "operator"} {
		for _, path := range []string{"/etc", "/etc", "/var%0a%ff", "/etc", "/" + strings.Repeat("long/", 400) + "end"} {
			st.ask(st.secret(t, role), "GET", latest+"/files?limit=1&path="+path, "")
		}
	}
	e := st.entries(t)
	if len(e) != 6 || e[0].Object != "p01c7p2q9 /etc" || e[1].Object != "p01c7p2q9 /var%0A%FF" || !strings.HasSuffix(e[2].Object, "long/end") || len(e[2].Object) > 1024 {
		t.Errorf("the audit log holds %+v", e)
	}
	if w := st.ask(st.secret(t, "viewer"), "GET", latest+"/files?path=/root/secret", ""); w.Code != 403 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("a viewer: %d %s", w.Code, w.Body)
	}
	if e := st.entries(t); e[len(e)-1].Outcome != api.AuditRefused {
		t.Errorf("%+v", e[len(e)-1])
	}
}

func TestOneCallerCannotTakeAllDownloads(t *testing.T) {
	t.Parallel()
	st := newSite(t, func(c *Config) { c.Limits.Downloads = 2 })
	st.fake.holds(fakeContent{name: "x", text: "x"})
	_, leave, _ := st.downloads.enter("token:t0-restorer")
	w := st.ask(st.secret(t, "restorer"), "GET", latest+"/files/content?path=/x", "")
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("the second at once: %d", w.Code)
	}
	if w := st.ask(st.secret(t, "admin"), "GET", latest+"/files/content?path=/x", ""); w.Code != 200 {
		t.Errorf("another: %d", w.Code)
	}
	leave()
	if w := st.ask(st.secret(t, "restorer"), "GET", latest+"/files/content?path=/x", ""); w.Code != 200 || st.downloads.inside != 0 {
		t.Errorf("the next: %d", w.Code)
	}
}

func TestAClientAsksForWhatAGuestHas(t *testing.T) {
	t.Parallel()
	needRoot(t)
	st := newSite(t, nil)
	st.fake.holds(fakeContent{name: "x", text: "0123456789"})
	c, ctx := dial(t, st.run(t)), t.Context()
	at := api.GuestAt{Vault: "main", PointRef: api.PointRef{Machine: "web1", Point: "latest"}, Volume: "vda1", Path: "/caf\xe9 +&%\n", NoFollow: true}
	if v, err := c.GuestVolumes(ctx, at); err != nil || v.Volumes[0].Name != "vda1" {
		t.Errorf("%+v, %v", v, err)
	}
	if l, err := c.GuestFolder(ctx, at, api.FolderPage{After: "p.1.a%2F+&", Limit: 7}); err != nil || st.fake.asked() != at || len(l.Entries) != 1 {
		t.Errorf("%+v, %v; %+v was asked for", l, err, st.fake.asked())
	}
	if f, err := c.GuestFile(ctx, at); err != nil || st.fake.asked() != at || f.Name != "passwd" {
		t.Errorf("%+v, %v; %+v was asked for", f, err, st.fake.asked())
	}
	if _, err := c.UnlockGuest(ctx, at, api.GuestKeys{Passphrases: []string{"x"}}); err != nil {
		t.Error(err)
	}
	if err := c.LockGuest(ctx, at); err != nil {
		t.Error(err)
	}
	for _, from := range []int64{0, 3} {
		body, err := c.ReadGuestFile(ctx, at, "", from)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(body)
		body.Close()
		if err != nil || string(b) != "0123456789"[from:] || st.fake.asked() != at {
			t.Errorf("from %d on: %q, %v", from, b, err)
		}
	}
	if _, err := c.ReadGuestFile(ctx, at, "", 10); err == nil {
		t.Error("a range behind the end")
	}
	st.fake.fails(&api.Problem{Status: 404, Exit: 6, Detail: "there is no such file"})
	for what, err := range map[string]error{"content": func() error { _, err := c.ReadGuestFile(ctx, at, "", 0); return err }(), "archive": func() error { _, _, err := c.ReadGuestArchive(ctx, at, api.Zip); return err }()} {
		if p := (*api.Problem)(nil); !errors.As(err, &p) || p.Exit != 6 {
			t.Errorf("%s: %v", what, err)
		}
	}
}
