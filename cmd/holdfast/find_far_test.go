package main

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// pagedFinder answers in pages of two.
type pagedFinder struct {
	api.Finder
	asked []api.SearchQuery
}

func (p *pagedFinder) Search(_ context.Context, q api.SearchQuery) (page api.SearchPage, err error) {
	p.asked = append(p.asked, q)
	from := 0
	if q.After != "" {
		fmt.Sscan(q.After, &from)
	}
	for i := from; i < min(from+2, 5); i++ {
		h := api.SearchHit{Path: fmt.Sprintf("/%d", i)}
		if i == 3 {
			h.Path, h.PathEscaped = "/\ufffd", "/%FF"
		}
		page.Hits = append(page.Hits, h)
	}
	if from+2 < 5 {
		page.Next = fmt.Sprint(from + 2)
	}
	page.Points = 7
	return page, nil
}

func TestASearchThroughADaemonTakesAllItsPages(t *testing.T) {
	p := &pagedFinder{}
	var paths []string
	searched, err := (&farFinder{p, "main"}).search(t.Context(), api.SearchQuery{Machine: "web1"}, func(_ api.SearchHit, path string) error {
		paths = append(paths, path)
		return nil
	})
	if err != nil || searched.Points != 7 || !slices.Equal(paths, []string{"/0", "/1", "/2", "/\xff", "/4"}) || len(p.asked) != 3 || p.asked[0].Vault != "main" {
		t.Errorf("%q, %+v, %+v, %v", paths, searched, p.asked, err)
	}
}
