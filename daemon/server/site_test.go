package server

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

func newSite(t testing.TB, change func(*Config)) *site {
	t.Helper()
	st := &site{fake: &fake{}, dir: quickDir(t), secrets: map[string]string{}, log: &bytes.Buffer{}}
	var err error
	if st.store, err = access.Open(st.dir, access.Options{UID: -1}); err != nil {
		t.Fatal(err)
	}
	if st.audit, err = access.OpenLog(filepath.Join(st.dir, "audit"), access.LogOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.audit.Close() })
	c := Config{Operations: st.fake, Watching: st.fake, Finder: st.fake, Access: st.store, Audit: st.audit, Log: slog.New(slog.NewTextHandler(st.log, nil)), Version: "test",
		OpenDisk: func(context.Context, string, string, string, string) (Disk, error) {
			return &fakeDisk{Reader: bytes.NewReader(diskBytes)}, nil
		},
		Files: st.fake,
		MapDisk: func(_ context.Context, _, _, _, _ string, offset int64, _ int) (api.DiskRanges, error) {
			return api.DiskRanges{Size: int64(len(diskBytes)), BlockSize: 65536, Ranges: []api.Range{{Offset: offset, Length: 512}}, Until: int64(len(diskBytes))}, nil
		},
		CompareDisk: func(_ context.Context, _ string, _, _ api.PointRef, _ string, fn func(api.Range) error) error {
			return fn(api.Range{Offset: 65536, Length: 65536})
		},
		ReadConfig: func(context.Context, string, string, string, string) ([]byte, error) {
			return []byte("<domain/>\n"), nil
		},
		Lend:    func(context.Context, string) (func(), error) { return func() {}, nil },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "holdfast_up 1") }),
		Limits:  Limits{RefusalsMinute: 1000000, LoginFailures: 1000000},
	}
	if change != nil {
		change(&c)
	}
	if st.Server, err = New(c); err != nil {
		t.Fatal(err)
	}
	return st
}

// secret is that of a token with a role for machines, made when it is first asked for.
func (st *site) secret(t testing.TB, role string, globs ...string) string {
	t.Helper()
	key := role + " " + strings.Join(globs, " ")
	if s, ok := st.secrets[key]; ok {
		return s
	}
	nt, err := st.store.CreateToken(api.TokenRequest{Name: fmt.Sprintf("t%d-%s", len(st.secrets), role), Role: role, Machines: globs}, "the test")
	if err != nil {
		t.Fatal(err)
	}
	st.secrets[key] = nt.Secret
	return nt.Secret
}

// ask sends a request with a token, without a network.
func (st *site) ask(secret, method, path, body string) *httptest.ResponseRecorder {
	var r *http.Request
	if body == "" {
		r = httptest.NewRequest(method, path, nil)
	} else {
		r = httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	return st.send(r)
}

func (st *site) send(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	st.ServeHTTP(w, r)
	return w
}

// entries is what the audit log holds.
func (st *site) entries(t testing.TB) []api.AuditEntry {
	t.Helper()
	list, err := st.audit.Read(context.Background(), api.AuditQuery{})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// quickDir is a folder in memory, where there is one: a token is on the disk when it is made.
func quickDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-server-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
