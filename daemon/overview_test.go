package daemon_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

func TestAnOverviewIsKeptWrittenAndServed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "holdfast.prom")
	looks := make(chan struct{}, 100)
	fail := false // of the loop alone
	w := daemon.NewOverview(daemon.OverviewOptions{
		Status: func(context.Context, api.StatusQuery) (api.Status, error) {
			defer func() { looks <- struct{}{} }()
			if fail = !fail; !fail {
				return api.Status{}, errors.New("it cannot be told")
			}
			return api.Status{Time: api.At(time.Now()), Host: "h"}, nil
		},
		Standing: func() (int, int) { return 3, 1 }, Textfile: file, Every: 5 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	})
	if _, err := w.Last(t.Context()); err == nil {
		t.Error("something is known before anybody looked")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for range 4 {
		<-looks
	}
	w.JobChanged(&api.Job{Kind: api.JobSweep, State: api.JobCompleted})
	answer := httptest.NewRecorder()
	w.Metrics().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{"holdfast_status_ok", `holdfast_jobs{state="queued"} 3`, `holdfast_jobs_ended_total{kind="sweep",state="completed"} 1`} {
		if !strings.Contains(answer.Body.String(), want) {
			t.Errorf("%s is missing in %s", want, answer.Body)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), "holdfast_status_ok") {
		t.Errorf("%s, %v", b, err)
	}
}
