package integration

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// TestADaemonTellsHowAllStands asks a daemon for its status, and waits for what it tells by itself: metrics in a
// file, and the backup that fails, to a webhook.
func TestADaemonTellsHowAllStands(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var told strings.Builder
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		io.Copy(&told, r.Body)
	}))
	defer hook.Close()
	v := newVault(t)
	image := randomImage(t, "a.raw", 64)
	v.owed(blockstore.Policy{Retries: -1}, map[string]string{"web1": image, "gone1": image + "-not-there"})
	file := filepath.Join(t.TempDir(), "holdfast.prom")
	s := newService(t, v, fmt.Sprintf("metrics-textfile: %s\nnotifications:\n  webhooks:\n    - url: %s\n      format: text\n", file, hook.URL))
	p := s.begin()
	eventually(t, "both runs are over", func() bool {
		over := 0
		for _, j := range s.jobs("backup") {
			if j.State == "completed" || j.State == "failed" {
				over++
			}
		}
		return over == 2
	})
	if o := s.must(3, "status"); !strings.Contains(o.out, "web1") || !strings.Contains(o.out, "gone1") {
		t.Errorf("%s%s", o.out, o.err)
	}
	eventually(t, "metrics are written", func() bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(b), "holdfast_status_ok 1")
	})
	eventually(t, "the webhook is told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(told.String(), "gone1")
	})
	s.end(p)
}
