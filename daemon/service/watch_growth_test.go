package service

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
	"github.com/holdfast-backup/holdfast/daemon/status"
)

func TestHowMuchIsInUseIsRememberedOnceADay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := New(Options{StateDir: dir})
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	look := func(now time.Time, free int64) []status.Sample {
		f := status.Facts{Now: now, Vaults: []status.VaultFacts{{Vault: api.Vault{ID: "v"}, Size: 1000, Free: free}, {Vault: api.Vault{ID: "gone"}, Problem: "it hangs"}}}
		s.addGrowth(&f)
		if f.Vaults[1].Used != nil {
			t.Errorf("of a vault that hangs: %v", f.Vaults[1].Used)
		}
		return f.Vaults[0].Used
	}
	if got := look(at, 900); len(got) != 1 || got[0].Used != 100 {
		t.Errorf("at first %v", got)
	}
	for h := 1; h < 20; h++ { // what is now counts, and is not kept
		if got := look(at.Add(time.Duration(h)*time.Hour), 800); len(got) != 2 || got[0].Used != 100 || got[1].Used != 200 {
			t.Fatalf("after %d hours %v", h, got)
		}
	}
	for d := 1; d <= 200; d++ {
		if got := look(at.Add(time.Duration(d)*24*time.Hour), 700); len(got) > 72 || got[len(got)-1].Used != 300 {
			t.Fatalf("after %d days %v", d, got)
		}
	}
	if got := look(at, 600); len(got) != 1 || got[0].Used != 400 { // the clock was wrong
		t.Errorf("before all that: %v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, growthFile), []byte("[7"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := look(at, 500); len(got) != 1 || got[0].Used != 500 {
		t.Errorf("after damage: %v", got)
	}
	if got := look(at.Add(time.Hour), 500); len(got) != 2 {
		t.Errorf("it was not kept again: %v", got)
	}
}

func TestAVaultThatThisProcessCannotGetBackIsUnowned(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		why            error
		unowned, waits bool
	}{
		{nil, false, false},
		{errors.New("read-only file system"), true, false},
		{&blockstore.BusyError{Owner: blockstore.Ownership{PID: 1}}, false, true},
		{&blockstore.BusyError{Owner: blockstore.Ownership{PID: os.Getpid()}}, true, false}, // it hung there
		{&blockstore.BusyError{OtherHost: true}, true, false},
	} {
		var f status.VaultFacts
		if unowned(&f, c.why); (f.Unowned != "") != c.unowned || (f.Waits != "") != c.waits {
			t.Errorf("%v: unowned %q, waits %q", c.why, f.Unowned, f.Waits)
		}
	}
}

func TestAFullVaultSaysWhatGivesSpaceBackWhoeverOwnsIt(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "v")
	if _, err := blockstore.Create(t.Context(), dir, blockstore.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s := New(Options{Vaults: &OneVault{Path: dir}})
	full := fmt.Errorf("open vault: %w", blockstore.ErrFull)
	if p := Explain(s.adviseOnFull(t.Context(), dir, full)); p.Exit != 7 || !strings.Contains(p.Hint, "sweep --plan-free") {
		t.Errorf("%+v", p)
	}
	told := Hinted(full, "known")
	if got := s.adviseOnFull(t.Context(), dir, told); got != error(told) {
		t.Errorf("what was told already: %v", got)
	}
}

func TestThatNothingIsRememberedIsSaidOnceInTheLogAndInEachStatus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{statusFile, growthFile} { // nothing takes their place
		if err := os.MkdirAll(filepath.Join(dir, name, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	table, err := jobs.Open(jobs.Options{Explain: Explain})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close(t.Context())
	h := hanging{make(chan struct{})}
	defer close(h.until)
	var log bytes.Buffer
	s := New(Options{Vaults: h, Jobs: table, StateDir: dir, Patience: time.Millisecond, Stays: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
	warnings := func() string {
		t.Helper()
		st, err := s.Status(t.Context(), api.StatusQuery{NoHost: true})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(st.Warnings, "; ")
	}
	if got := warnings(); got != "" {
		t.Errorf("before anything was kept: %s", got)
	}
	remember := func(now time.Time) {
		s.addGrowth(&status.Facts{Now: now, Vaults: []status.VaultFacts{{Vault: api.Vault{ID: "v"}, Size: 1000, Free: 500}}})
		s.keep(&api.Status{Time: api.At(now)}, nil)
	}
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for range 3 {
		remember(at)
		if got := warnings(); !strings.Contains(got, "not remembered how vaults grow, nor how all stood") {
			t.Errorf("it warns of %q", got)
		}
	}
	if n := strings.Count(log.String(), "cannot be kept"); n != 1 {
		t.Errorf("the log says %d times: %s", n, &log)
	}
	for _, name := range []string{statusFile, growthFile} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if remember(at); warnings() != "" || !strings.Contains(log.String(), "is kept again") {
		t.Errorf("afterwards %q: %s", warnings(), &log)
	}
}

func TestACommandThatMayWriteNothingDoesNotMind(t *testing.T) {
	t.Parallel()
	for _, stays := range []bool{false, true} {
		s := New(Options{StateDir: filepath.Join(t.TempDir(), "none"), Stays: stays})
		s.keep(&api.Status{Time: api.At(time.Now())}, nil)
		if got := s.notKept(); (got != "") != stays {
			t.Errorf("of a folder that is not there, a service that stays %v says %q", stays, got)
		}
	}
}
