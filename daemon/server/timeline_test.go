package server

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// slow is a fake whose history takes until it is let go.
type slow struct {
	*fake
	began, letGo chan bool
}

func (s *slow) GuestHistory(ctx context.Context, q api.HistoryQuery, progress func(done, total int64)) (api.FileHistory, error) {
	progress(7, 9)
	s.began <- true
	select {
	case <-s.letGo:
		return s.fake.GuestHistory(ctx, q, progress)
	case <-ctx.Done():
		return api.FileHistory{}, ctx.Err()
	}
}

func TestHistoriesAndComparisonsComeLineByLine(t *testing.T) {
	needRoot(t)
	st := newSite(t, nil)
	c := dial(t, st.run(t))
	since := exampleTime
	path := "/caf\xe9 ?&%/+x"
	h, err := c.GuestHistory(t.Context(), api.HistoryQuery{Vault: "main", Machine: "web1", Volume: "vda1", Path: path, Since: &since, NoSums: true}, nil)
	if err != nil || h.Points != 2 {
		t.Fatalf("%+v, %v", h, err)
	}
	if q := st.fake.last.(api.HistoryQuery); q.Path != path || q.Volume != "vda1" || !q.NoSums || q.Since == nil || !q.Since.Equal(since.Time) || q.Until != nil {
		t.Errorf("it was asked %+v", q)
	}
	var paths []string
	q := api.DiffQuery{A: api.GuestAt{Vault: "main", PointRef: api.PointRef{Machine: "web1", Point: "p1"}, Path: path},
		B: api.GuestAt{Vault: "main", PointRef: api.PointRef{Machine: "db1", Point: "latest"}, Volume: "vdb", Path: "/other"}, Content: true}
	d, err := c.GuestDiff(t.Context(), q, func(f api.FileDiff) error { paths = append(paths, f.Path); return nil }, nil)
	if err != nil || d.Added != 2 || !slices.Equal(paths, []string{"/etc/a", "/etc/b"}) {
		t.Errorf("%+v, %q, %v", d, paths, err)
	}
	if got := st.fake.last.(api.DiffQuery); got.A.Path != path || got.B.Volume != "vdb" || got.B.Path != "/other" || got.B.Point != "latest" || !got.Content {
		t.Errorf("it was asked %+v", got)
	}
	if _, err := c.GuestDiff(t.Context(), q, func(api.FileDiff) error { return io.ErrShortWrite }, nil); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a function that fails: %v", err)
	}
	var objects []string
	for _, e := range st.entries(t) {
		objects = append(objects, e.Action+" "+e.Object+" of "+e.Machine)
	}
	if all := strings.Join(objects, "\n"); !strings.Contains(all, "file-history all vda1:/caf%E9") || !strings.Contains(all, "compare-files p1 ") || !strings.Contains(all, "with db1 latest vdb:/other of web1") {
		t.Errorf("the audit log says\n%s", all)
	}
}

func TestWhatIsWrongWithAHistoryIsAProblemHoweverLateItIs(t *testing.T) {
	needRoot(t)
	st := newSite(t, func(c *Config) {
		c.Names = func(context.Context, string) ([]api.Machine, error) { return each("", fakeMachine), nil }
	})
	c := dial(t, st.run(t))
	st.fake.fails(&api.Problem{Status: 404, Exit: 6, Detail: "there is none"})
	q := api.HistoryQuery{Vault: "main", Machine: "web1", Path: "/x"}
	if _, err := c.GuestHistory(t.Context(), q, nil); !isExit(err, 6) {
		t.Errorf("before anything was said: %v", err)
	}
	d := api.DiffQuery{A: api.GuestAt{Vault: "main", PointRef: api.PointRef{Machine: "web1", Point: "p1"}}, B: api.GuestAt{PointRef: api.PointRef{Machine: "web1", Point: "latest"}}}
	seen := 0
	if _, err := c.GuestDiff(t.Context(), d, func(api.FileDiff) error { seen++; return nil }, nil); !isExit(err, 6) || seen != 2 {
		t.Errorf("after %d lines: %v", seen, err)
	}
	st.fake.fails(nil)
	st.fake.panic(true)
	if _, err := c.GuestHistory(t.Context(), q, nil); !isExit(err, 1) {
		t.Errorf("a panic is %v", err)
	}
	st.fake.panic(false)
	for _, path := range []string{"", "/a\x00b"} {
		if _, err := c.GuestHistory(t.Context(), api.HistoryQuery{Vault: "main", Machine: "web1", Path: path}, nil); !isExit(err, 2) {
			t.Errorf("path %q: %v", path, err)
		}
	}
}

func TestAHistoryThatLastsSaysHowFarItIsAndEndsWithItsClient(t *testing.T) {
	needRoot(t)
	s := &slow{began: make(chan bool, 1), letGo: make(chan bool)}
	st := newSite(t, func(c *Config) {
		s.fake = c.Files.(*fake)
		c.Files, c.Limits.Beat = s, 5*time.Millisecond
	})
	c := dial(t, st.run(t))
	q := api.HistoryQuery{Vault: "main", Machine: "web1", Path: "/x"}
	told := make(chan [2]int64, 1000)
	over := make(chan error, 1)
	go func() {
		_, err := c.GuestHistory(t.Context(), q, func(done, total int64) {
			select {
			case told <- [2]int64{done, total}:
			default:
			}
		})
		over <- err
	}()
	if <-s.began; <-told != [2]int64{7, 9} {
		t.Error("it is told otherwise how far it has come")
	}
	close(s.letGo)
	if err := <-over; err != nil {
		t.Error(err)
	}
	s.letGo = make(chan bool)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-s.began; cancel() }()
	if _, err := c.GuestHistory(ctx, q, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that leaves: %v", err)
	}
}
