package service

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
)

// hanging are vaults of which none answers, until the test is over.
type hanging struct{ until chan struct{} }

func (h hanging) List(context.Context) ([]Known, error) {
	return []Known{{ID: "00112233445566aa", Name: "main", Path: "/srv/main"}}, nil
}

func (h hanging) Find(ctx context.Context, _ string) (Known, error) {
	all, err := h.List(ctx)
	return all[0], err
}

func (h hanging) Read(context.Context, string, func(*blockstore.Vault) error) error {
	<-h.until // whatever becomes of the context
	return nil
}

func (h hanging) Lasting(context.Context, string, func(context.Context, *blockstore.Vault) error) error {
	<-h.until
	return nil
}

func (h hanging) Own(context.Context, string, Purpose, func(*blockstore.Owner) error) error {
	<-h.until
	return nil
}

func TestAStatusDoesNotWaitForAVaultThatHangs(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	at := api.At(time.Now().Add(-2 * time.Hour))
	before := api.Status{Time: at, Vaults: []api.VaultStatus{{Vault: api.Vault{ID: "00112233445566aa", Name: "main"}, Points: 7}},
		Machines: []api.MachineStatus{{Name: "web1", Vault: "main", Objective: 3600, Good: &api.PointBrief{Time: at}}}}
	b, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, statusFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
	table, err := jobs.Open(jobs.Options{Explain: Explain})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close(t.Context())
	h := hanging{make(chan struct{})}
	defer close(h.until)
	s := New(Options{Vaults: h, Jobs: table, StateDir: state, Patience: 10 * time.Millisecond})
	for range 2 { // what it keeps itself says the same
		got, err := s.Status(t.Context(), api.StatusQuery{NoHost: true})
		if err != nil || len(got.Vaults) != 1 || len(got.Machines) != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
		if v := got.Vaults[0]; v.AsOf == nil || !v.AsOf.Equal(at.Time) || v.Points != 7 || !strings.Contains(v.Problem, "did not answer for 10ms") {
			t.Errorf("%+v", v)
		}
		if m := got.Machines[0]; !m.Missed || !got.AtRisk {
			t.Errorf("%+v", m)
		}
		s.keep(&got, nil)
	}
}

func TestWhatIsIgnoredIsAList(t *testing.T) {
	t.Parallel()
	s := New(Options{StateDir: t.TempDir()})
	for _, c := range []struct {
		r    api.IgnoreRequest
		want string // "!": refused
	}{
		{api.IgnoreRequest{}, ""},
		{api.IgnoreRequest{Names: []string{"b", "a", "b"}}, "a b"},
		{api.IgnoreRequest{Names: []string{"x\ny"}}, "!"},
		{api.IgnoreRequest{Names: []string{""}}, "!"},
		{api.IgnoreRequest{Names: []string{"c"}, Remove: true}, "!"},
		{api.IgnoreRequest{Names: []string{"a"}, Remove: true}, "b"},
		{api.IgnoreRequest{}, "b"},
	} {
		got, err := s.Ignore(t.Context(), c.r)
		if (err != nil) != (c.want == "!") || err == nil && strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %q, %v", c.r, got, err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.o.StateDir, ignoredFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ignore(t.Context(), api.IgnoreRequest{Names: []string{"a"}}); err == nil {
		t.Error("a list that cannot be read is replaced")
	}
}
