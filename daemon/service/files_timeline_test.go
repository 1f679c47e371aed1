package service_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

func TestAFileIsFollowedAndFoldersAreComparedThroughTheService(t *testing.T) {
	needs.Tools(t, "debugfs")
	y, first := linuxGuest(t)
	y.put(map[string]string{"new": "root:x:0\nann:x:1000\n"})
	y.shell(`printf 'rm /etc/passwd\nwrite new /etc/passwd\nrm /home/ann/up\n' | debugfs -w -f - vda >/dev/null 2>&1`)
	second := y.backupOf("web1", "vda", "vdb")
	var last [2]int64
	h, err := y.GuestHistory(t.Context(), api.HistoryQuery{Machine: "web1", Path: "/etc/passwd"}, func(done, total int64) { last = [2]int64{done, total} })
	if err != nil || h.Points != 2 || len(h.Versions) != 2 || h.Versions[1].First.ID != second.ID || h.Versions[1].Size != 20 || last != [2]int64{2, 2} {
		t.Errorf("%+v, %v; %v", h, err, last)
	}
	var paths []string
	q := api.DiffQuery{A: at(first, "/"), B: at(first, "/")}
	q.B.Point = "latest"
	d, err := y.GuestDiff(t.Context(), q, func(f api.FileDiff) error { paths = append(paths, f.Change+" "+f.Path); return nil }, nil)
	want := []string{"changed /etc/passwd", "unreadable /gone", "removed /home/ann/up"}
	if err != nil || !slices.Equal(paths, want) || d.A != first.Point || d.B != second.ID || d.Unreadable != 1 {
		t.Errorf("%q, %+v, %v; it should be %q", paths, d, err, want)
	}
	for _, q := range []api.HistoryQuery{{Machine: "web9", Path: "/x"}, {Machine: "web1", Path: "/x", Until: &api.Time{Time: time.Unix(0, 0)}}} {
		if _, err := y.GuestHistory(t.Context(), q, nil); !errors.Is(err, blockstore.ErrNotFound) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	if _, err := y.GuestHistory(t.Context(), api.HistoryQuery{Machine: "web1", Path: "/a\x00"}, nil); err == nil {
		t.Error("a name with a zero byte was looked for")
	}
	for b, hint := range map[string]string{"/nope": "holdfast find web1@all --name 'nope'", "/ect": "did you mean /etc?", "/home/zzzzzzz": "/home of web1@latest holds ann"} {
		q := api.DiffQuery{A: at(first, "/etc"), B: at(first, b)}
		if q.B.Point = "latest"; b == "/nope" {
			q.A.Path = b
		}
		_, err := y.GuestDiff(t.Context(), q, func(api.FileDiff) error { t.Error("something is told"); return nil }, nil)
		if p := service.Explain(err); p == nil || p.Exit != 6 || p.Status != 404 || p.Kind != "no-such-file" || !strings.Contains(p.Hint, hint) || !strings.Contains(p.Detail, b+" ") {
			t.Errorf("%s: %+v", b, p)
		}
	}
	q = api.DiffQuery{A: at(first, "/home/ann/up"), B: at(first, "/home/ann/up")}
	q.B.Point = "latest"
	if d, err := y.GuestDiff(t.Context(), q, func(api.FileDiff) error { return nil }, nil); err != nil || d.Missing != "b" || d.Removed != 1 {
		t.Errorf("%+v, %v", d, err)
	}
}
