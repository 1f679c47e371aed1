package service_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func TestASearchGivesItsHitsInPagesAndSaysWhatItDidNotSee(t *testing.T) {
	t.Parallel()
	y, at := linuxGuest(t)
	for i := range 30 {
		y.put(map[string]string{fmt.Sprintf("var/mail/%02d", i): "x"})
	}
	y.shell("rm vdb; mke2fs -q -t ext4 -d var vdb 8M")
	second := y.backupOf("web1", "vda", "vdb")
	q := api.SearchQuery{Machine: "web1", Path: "/var", Type: "f", Most: -1}
	page, err := y.Search(t.Context(), q)
	if err != nil || len(page.Hits) != 0 || len(page.Missing) != 2 || page.Next != "" {
		t.Fatalf("%+v, %v", page, err)
	}
	var run api.CatalogueRun
	if j := y.run(api.JobRequest{Kind: api.JobCatalogue, Machine: "web1", Catalogue: &api.CatalogueOptions{Points: []string{second.ID}}}, &run); j.State != api.JobCompleted || len(run.Built) != 1 {
		t.Fatalf("%+v, %+v", j, run)
	}
	if page, err = y.Search(t.Context(), q); err != nil || len(page.Hits) != 31 || len(page.Missing) != 1 || page.Missing[0].ID != at.Point {
		t.Fatalf("%+v, %v", page, err)
	}
	run = api.CatalogueRun{}
	if y.run(api.JobRequest{Kind: api.JobCatalogue}, &run); len(run.Built) != 1 || run.Built[0].Unread != 1 {
		t.Fatalf("%+v", run)
	}
	seen := map[string]bool{}
	for pages := 1; ; pages++ {
		q.Limit = 7
		page, err := y.Search(t.Context(), q)
		if err != nil || len(page.Hits) > 7 || page.Points != 2 || len(page.Unread) != 0 {
			t.Fatalf("%+v, %v", page, err)
		}
		for _, h := range page.Hits {
			if seen[h.Path] || !strings.HasPrefix(h.Path, "/var/") || h.Deleted {
				t.Errorf("%+v, again: %v", h, seen[h.Path])
			}
			seen[h.Path] = true
		}
		if q.After = page.Next; q.After == "" {
			if pages != 5 || len(seen) != 31 {
				t.Errorf("%d pages of %d", pages, len(seen))
			}
			break
		}
	}
	page, err = y.Search(t.Context(), api.SearchQuery{Machine: "web1", Name: "caf*", Most: -1})
	if err != nil || len(page.Hits) != 1 || page.Hits[0].PathEscaped != "/home/ann/caf%E9" || api.UnescapePath(page.Hits[0].PathEscaped) != "/home/ann/caf\xe9" ||
		len(page.Unread) != 1 || page.Unread[0].Path != "/gone" {
		t.Errorf("%+v, %v", page, err)
	}
	for until, want := range map[time.Time]int{second.Time.Add(-time.Hour): 0, second.Time.Time: 2} {
		at := api.At(until)
		if page, err = y.Search(t.Context(), api.SearchQuery{Machine: "web1", Path: "/var/mail", Most: -1, Until: &at}); err != nil || page.Points != want || (len(page.Hits) > 0) != (want > 0) {
			t.Errorf("until %v: %+v, %v", until, page, err)
		}
	}
	for volume, want := range map[string][2]string{"vdx": {"they list the guest's root", "holdfast volumes web1@POINT"}, "vdb": {"it is a part of the guest, at /var", "web1@all:/var"}} {
		_, err := y.Search(t.Context(), api.SearchQuery{Machine: "web1", Volume: volume, Most: -1})
		if p := service.Explain(err); p == nil || p.Exit != 6 || p.Status != 404 || p.Kind != "volume-not-found" || !strings.Contains(p.Detail, want[0]) || !strings.Contains(p.Hint, want[1]) {
			t.Errorf("volume %s: %+v", volume, p)
		}
	}
	if page, err = y.Search(t.Context(), api.SearchQuery{Machine: "web1", Volume: "vdx", All: true, Name: "caf*", Most: -1}); err != nil || len(page.Hits) != 1 {
		t.Errorf("all volumes: %+v, %v", page, err)
	}
	var wrong *service.Invalid
	for _, q := range []api.SearchQuery{{Name: "["}, {Pattern: "a["}, {Type: "x"}, {Path: "\x00"}} {
		q.Machine = "web1"
		if _, err := y.Search(t.Context(), q); !errors.As(err, &wrong) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func TestAJobOfCataloguesThatContradictsItselfIsRefused(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	for _, o := range []api.CatalogueOptions{{Days: -1}, {Again: true, Drop: true}, {Points: []string{"latest"}}} {
		if _, err := y.Start(t.Context(), api.JobRequest{Kind: api.JobCatalogue, Catalogue: &o}); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	if _, err := y.Start(t.Context(), api.JobRequest{Kind: api.JobCatalogue, Check: &api.CheckOptions{}}); err == nil {
		t.Error("options of another kind are taken")
	}
	y.backup() // of noise, in which there is no file
	var run api.CatalogueRun
	if j := y.run(api.JobRequest{Kind: api.JobCatalogue, Catalogue: &api.CatalogueOptions{Days: 1}}, &run); j.State != api.JobCompleted || len(run.Built) != 1 || run.Built[0].Names != 0 {
		t.Errorf("%+v, %+v", j, run)
	}
	var dropped api.CatalogueRun
	if y.run(api.JobRequest{Kind: api.JobCatalogue, Catalogue: &api.CatalogueOptions{Drop: true}}, &dropped); dropped.Dropped != 1 || dropped.Freed == 0 {
		t.Errorf("%+v", dropped)
	}
	if left, _ := os.ReadDir(filepath.Join(y.vault, "catalogues")); len(left) != 0 {
		t.Error(left)
	}
}

// TestACatalogueThatIsDamagedOrDroppedIsMadeAgainWithThoseThatBuildOnIt and not only when all are made again.
func TestACatalogueThatIsDamagedOrDroppedIsMadeAgainWithThoseThatBuildOnIt(t *testing.T) {
	t.Parallel()
	y, at := linuxGuest(t)
	y.put(map[string]string{"var/mail/new": "x"})
	y.shell("rm vdb; mke2fs -q -t ext4 -d var vdb 8M")
	y.backupOf("web1", "vda", "vdb")
	build := func(o *api.CatalogueOptions) (run api.CatalogueRun) {
		t.Helper()
		if j := y.run(api.JobRequest{Kind: api.JobCatalogue, Machine: "web1", Catalogue: o}, &run); j.State != api.JobCompleted {
			t.Fatalf("%+v", j)
		}
		return run
	}
	missing := func() (int, int) {
		t.Helper()
		page, err := y.Search(t.Context(), api.SearchQuery{Machine: "web1", Name: "new", Most: -1})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Missing), len(page.Problems)
	}
	if run := build(nil); len(run.Built) != 2 {
		t.Fatalf("%+v", run)
	}
	files, err := filepath.Glob(filepath.Join(y.vault, "catalogues", "*", "00000001-*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{"a byte": slices.Clone(whole), "the end": whole[:len(whole)-9], "all": nil} {
		if what == "a byte" {
			b[len(b)/2] ^= 1 // of the names
		}
		if files, _ = filepath.Glob(filepath.Join(y.vault, "catalogues", "*", "00000001-*")); len(files) != 1 {
			t.Fatal(files)
		}
		if err := os.WriteFile(files[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if m, bad := missing(); m != 2 || bad == 0 {
			t.Errorf("%s: %d points are missed, %d problems", what, m, bad)
		}
		var o *api.CatalogueOptions
		if what == "a byte" {
			o = &api.CatalogueOptions{Days: 7} // as the daemon asks each day
		}
		if run := build(o); len(run.Built) != 2 {
			t.Errorf("%s: %+v", what, run)
		}
		if m, bad := missing(); m != 0 || bad != 0 {
			t.Errorf("%s, mended: %d points are missed, %d problems", what, m, bad)
		}
	}
	if run := build(&api.CatalogueOptions{Again: true, Points: []string{at.Point}}); len(run.Built) != 2 {
		t.Errorf("made again: %+v", run)
	}
	if run := build(&api.CatalogueOptions{Drop: true, Points: []string{at.Point}}); run.Dropped != 2 {
		t.Errorf("dropped: %+v", run)
	}
	if m, bad := missing(); m != 2 || bad != 0 {
		t.Errorf("dropped: %d points are missed, %d problems", m, bad)
	}
}
