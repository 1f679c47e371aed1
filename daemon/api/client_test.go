package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answering is a client of something that answers every request in one way.
func answering(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan bool)
	s := &http.Server{Handler: answer}
	go func() { defer close(over); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-over })
	c, err := NewClient(ClientOptions{Socket: path, Patience: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAnAnswerThatMakesNoSenseIsAnErrorAndNoMore(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"nothing":      func(w http.ResponseWriter, _ *http.Request) {},
		"no JSON":      func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"another type": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"id":7}`) },
		"half an answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{"id":"j`)
		},
		"a redirection": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere/", http.StatusFound)
		},
		"an odd problem": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(500)
			io.WriteString(w, `{"detail":7}`)
		},
		"an endless problem": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(400)
			for _, err := w.Write(bytes.Repeat([]byte(" "), 1<<20)); err == nil; _, err = w.Write(bytes.Repeat([]byte(" "), 1<<20)) {
			}
		},
		"a break": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		c := answering(t, answer)
		if j, err := c.Job(t.Context(), "j1"); err == nil || j.ID != "" {
			t.Errorf("%s: %+v, %v", name, j, err)
		}
		if l, err := c.Vaults(t.Context()); err == nil {
			t.Errorf("%s: %+v", name, l)
		}
		if err := c.Follow(t.Context(), "j1", func(JobEvent) error { return nil }); err == nil {
			t.Errorf("%s: it was followed to its end", name)
		}
		if release, err := c.Lend(t.Context(), "main"); err == nil && name != "another type" { // any JSON begins a loan
			release()
			t.Errorf("%s: it was lent", name)
		}
		if r, err := c.DiskContent(t.Context(), "main", "web1", "latest", "vda", 0, 10); err == nil {
			r.Close()
			t.Errorf("%s: a disk was read", name)
		}
		if m, err := c.DiskMap(t.Context(), "main", "web1", "latest", "vda", 0); err == nil && name != "another type" { // of an empty disk
			t.Errorf("%s: %+v", name, m)
		}
		a, b := PointRef{Machine: "web1", Point: "p1"}, PointRef{Machine: "web1", Point: "p2"}
		if err := c.CompareDisk(t.Context(), "main", a, b, "vda", func(Range) error { return nil }); err == nil {
			t.Errorf("%s: disks were compared to their end", name)
		}
		if err := c.DiskInto(t.Context(), "main", "web1", "latest", "vda", 0, 10, "m", 0); err == nil {
			t.Errorf("%s: a disk was read into memory", name)
		}
	}
}

func TestAnAnswerThatIsTooLargeIsGivenUp(t *testing.T) {
	t.Parallel()
	b := &bounded{r: strings.NewReader("0123456789"), left: 5}
	got, err := io.ReadAll(b)
	if string(got) != "01234" || !errors.Is(err, errLarge) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSilenceEndsWhatLasts(t *testing.T) {
	t.Parallel()
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "{}\n: alive\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	c.silent = 50 * time.Millisecond
	if err := c.Follow(t.Context(), "j1", nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("following: %v", err)
	}
}

func TestANameThatWouldBeAWayUpIsNotAsked(t *testing.T) {
	t.Parallel()
	c := answering(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `[{"id":"`+r.URL.EscapedPath()+`"}]`) })
	for _, name := range []string{"", ".", ".."} {
		if _, err := c.Machines(context.Background(), name); err == nil {
			t.Errorf("%q was asked for", name)
		}
	}
	if l, err := c.Machines(t.Context(), "/srv/../a b?x#y%"); err != nil || l[0].ID != "/api/v1/vaults/%2Fsrv%2F..%2Fa%20b%3Fx%23y%25/machines" {
		t.Errorf("%+v %v", l, err)
	}
}

func FuzzAnEventIsReadOrRefused(f *testing.F) {
	for _, s := range []string{"event: job\ndata: {}\n\n", ": beat\n\n", "data: a\ndata: b\n\n", "event:x\r\ndata:y\r\n\r\n", "event", "\n\n\n", "data\n\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(b), 16)
		total := 0
		for {
			name, data, err := nextEvent(r)
			if err != nil {
				return
			}
			if total += len(name) + len(data); total > 2*len(b)+16 || bytes.ContainsAny([]byte(name), "\n") {
				t.Fatalf("%q holds an event %q %q", b, name, data)
			}
		}
	})
}
